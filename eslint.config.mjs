// The recommended rules, in the two worlds of web/: pages, and the audio thread.
import js from "@eslint/js";
import globals from "globals";

const rest = { "no-unused-vars": ["error", { ignoreRestSiblings: true }] }; // `{ type, ...others }` leaves `type` out

export default [
  js.configs.recommended,
  { files: ["web/*.js"], rules: rest },
  { files: ["web/*.js"], ignores: ["web/*-worklet.js"], languageOptions: { globals: globals.browser } },
  { files: ["web/*-worklet.js"], languageOptions: { globals: globals.audioWorklet } },
];
