// Earcons: soft tones that make the state of a conversation audible to a user who does not look. Each is a pair of short sines.

const LOUD = 0.03;
const TONE_S = 0.07;
const EARCONS = {
  listening: [660, 880],
  thinking: [440],
  interrupted: [880, 660],
  reconnecting: [330, 330],
  idle: [660, 440],
};

/** Plays the tone of a state, if it has one. */
export function earcon(context, state) {
  (EARCONS[state] ?? []).forEach((hertz, i) => {
    const at = context.currentTime + i * TONE_S * 1.2;
    const tone = new OscillatorNode(context, { frequency: hertz });
    const volume = new GainNode(context, { gain: 0 });
    volume.gain.setTargetAtTime(LOUD, at, 0.008);
    volume.gain.setTargetAtTime(0, at + TONE_S, 0.015);
    tone.connect(volume).connect(context.destination);
    tone.start(at);
    tone.stop(at + TONE_S * 3);
  });
}
