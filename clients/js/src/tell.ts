/** Calls a callback of the client's options. */

export type Tell = (name: 'onState' | 'onEvent' | 'onGap' | 'onFrame' | 'onError', value: unknown) => void;
