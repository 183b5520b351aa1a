// Elements of our pages. One that is not there is a mistake of ours, and says so by name.

/**
 * The element with that id, of that kind.
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} id @param {new () => Kind} [kind]
 * @returns {Kind}
 */
export function $(id, kind) {
  return find(`#${id}`, kind);
}

/**
 * The first element inside `parent` that a selector finds.
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} selector @param {new () => Kind} [kind] @param {ParentNode} parent
 * @returns {Kind}
 */
export function find(selector, kind, parent = document) {
  const wanted = kind ?? HTMLElement;
  const node = parent.querySelector(selector);
  if (!(node instanceof wanted)) throw new Error(`this page has no ${wanted.name} ${selector}`);
  return /** @type {Kind} */ (node);
}

/**
 * All of them.
 * @param {string} selector @param {ParentNode} parent
 * @returns {NodeListOf<HTMLElement>}
 */
export function findAll(selector, parent = document) {
  return parent.querySelectorAll(selector);
}

/**
 * A new element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {string} className @param {(Node | string)[]} children
 */
export function element(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/**
 * A new element of a drawing.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag @param {{ [name: string]: string | number }} attributes @param {Node[]} children
 */
export function drawn(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}
