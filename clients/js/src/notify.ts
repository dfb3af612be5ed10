/** Calls a callback of the client's options. */

export type Notify = (name: 'onState' | 'onEvent' | 'onGap' | 'onFrame' | 'onError', value: unknown) => void;
