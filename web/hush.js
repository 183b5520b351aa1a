// Silences the answer when the microphone's own detector hears a voice, 0.1 to 0.2 s before the server could say so. The
// server decides: its "hold" or "clear" takes over, and if neither comes soon the answer goes on. Who was wrong takes more
// care the next time, and after three times in a row listens no more until the server heard a voice over an answer itself.

const OWN_S = 0.7; // as long as the server may take to agree
const [OVER_DB, MORE_DB] = [9, 3]; // over the noise; added for each wrong alarm
const MOST_WRONG = 3;

export class Hush {
  /** `set(on)` silences; `careful(over)` tells the detector how many dB make a voice. */
  constructor(set, careful) {
    Object.assign(this, { set, careful });
    this.wrong = 0;
    this.timer = null;
  }

  /** A voice begins while an answer is heard. Returns whether it was silenced. */
  voice() {
    if (this.timer !== null || this.wrong >= MOST_WRONG) return false;
    this.set(true);
    this.timer = setTimeout(() => this.end(false), OWN_S * 1000);
    return true;
  }

  /** What the server said of the sound: "hold" and "clear" agree. */
  told(type) {
    if (type === "hold" || type === "clear") this.end(true);
    else if (type === "start") this.release();
  }

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
