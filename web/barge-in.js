// Local barge-in: pauses playback when the detector of the microphone finds speech, 0.1 to 0.2 s before the server could say
// so. The server decides: its "hold" or "clear" takes over, and if neither comes soon, playback goes on. Each false alarm raises
// the threshold, and after three in a row the page leaves it to the server until that has found speech over a reply itself.

const OWN_S = 0.7; // how long the server may take to confirm
const [OVER_DB, MORE_DB] = [9, 3]; // over the noise; added for each false alarm
const MOST_WRONG = 3;

export class BargeIn {
  /**
   * `set(on)` pauses playback; `careful(over)` sets the threshold of the detector in dB.
   * @param {(on: boolean) => void} set @param {(over: number) => void} careful
   */
  constructor(set, careful) {
    this.set = set;
    this.careful = careful;
    this.wrong = 0;
    /** @type {ReturnType<typeof setTimeout> | null} */
    this.timer = null;
  }

  /** Speech begins over a reply. Returns whether playback was paused. */
  voice() {
    if (this.timer !== null || this.wrong >= MOST_WRONG) return false;
    this.set(true);
    this.timer = setTimeout(() => this.end(false), OWN_S * 1000);
    return true;
  }

  /**
   * A message of the server about the audio: "hold" and "clear" confirm the pause.
   * @param {string | undefined} type
   */
  receive(type) {
    if (type === "hold" || type === "clear") this.end(true);
    else if (type === "start") this.release();
  }

  /** @param {boolean} agreed */
  end(agreed) {
    const wrong = agreed ? 0 : this.wrong + 1;
    if (wrong !== this.wrong) this.careful(OVER_DB + MORE_DB * wrong);
    this.wrong = wrong;
    this.release();
  }

  release() {
    if (this.timer === null) return;
    clearTimeout(this.timer);
    this.timer = null;
    this.set(false);
  }
}
