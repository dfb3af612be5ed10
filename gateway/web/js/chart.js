/** A moving chart on a canvas: events a second for the last minute, stacked by kind. */

const SECONDS = 60;
const FRAME = 66; // milliseconds: a slide of ten pixels a second needs no more than fifteen frames
const MARGIN = { top: 8, right: 4, bottom: 18, left: 28 };

export class RateChart {
  #canvas;
  #kinds;
  #context;
  #buckets = new Map(); // second -> one count for each kind
  #colours = {};
  #top = 4; // the scale's end, eased so that it never jumps
  #calm = matchMedia('(prefers-reduced-motion: reduce)');
  #dark = matchMedia('(prefers-color-scheme: dark)');

  /** @param {HTMLCanvasElement} canvas @param {string[]} kinds each with a CSS colour in `--<kind>` */
  constructor(canvas, kinds) {
    this.#canvas = canvas;
    this.#kinds = kinds;
    this.#context = canvas.getContext('2d');
    const dress = () => this.#dress();
    this.#dark.addEventListener('change', dress);
    new ResizeObserver(() => { this.#fit(); this.#draw(Date.now()); }).observe(canvas);
    dress();
    this.#run();
  }

  /** Adds an event of the time `at`, milliseconds as `now` is. */
  add(kind, at, now) {
    const second = Math.floor(at / 1000);
    if (second < Math.floor(now / 1000) - SECONDS) return;
    let bucket = this.#buckets.get(second);
    if (!bucket) {
      bucket = new Uint32Array(this.#kinds.length);
      this.#buckets.set(second, bucket);
      for (const old of this.#buckets.keys()) if (old < now / 1000 - SECONDS - 2) this.#buckets.delete(old);
    }
    bucket[this.#kinds.indexOf(kind)] += 1;
  }

  #run() {
    this.#draw(Date.now());
    // Who asked for less motion gets a step a second instead of a slide. Neither runs while the page is hidden.
    const wait = this.#calm.matches ? 1000 - (Date.now() % 1000) : FRAME;
    setTimeout(() => requestAnimationFrame(() => this.#run()), wait);
  }

  #dress() {
    const style = getComputedStyle(this.#canvas);
    for (const name of [...this.#kinds, 'line', 'muted']) {
      this.#colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
    this.#context.font = `11px ${style.fontFamily}`;
  }

  #fit() {
    const ratio = devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.#canvas;
    this.#canvas.width = Math.round(clientWidth * ratio);
    this.#canvas.height = Math.round(clientHeight * ratio);
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#dress(); // a resize resets the font
  }

  #draw(now) {
    const { clientWidth, clientHeight } = this.#canvas;
    const width = clientWidth - MARGIN.left - MARGIN.right;
    const height = clientHeight - MARGIN.top - MARGIN.bottom;
    if (width < 20 || height < 20) return;
    const context = this.#context;
    context.clearRect(0, 0, clientWidth, clientHeight);

    const second = Math.floor(now / 1000);
    const part = this.#calm.matches ? 1 : (now % 1000) / 1000;
    const step = niceStep(this.#peak(second) / 4);
    const wanted = Math.max(4, step * Math.ceil(this.#peak(second) / step));
    this.#top += (wanted - this.#top) * (this.#calm.matches ? 1 : 0.3);
    const y = (value) => MARGIN.top + height * (1 - value / this.#top);
    this.#grid(width, step, y);

    context.save();
    context.beginPath();
    context.rect(MARGIN.left, 0, width, clientHeight);
    context.clip();
    const slot = width / SECONDS;
    for (const [at, counts] of this.#buckets) {
      const x = MARGIN.left + width - (second - at + part) * slot;
      let below = 0;
      this.#kinds.forEach((kind, index) => {
        if (!counts[index]) return;
        context.fillStyle = this.#colours[kind];
        context.fillRect(x, y(below + counts[index]), Math.max(1, slot - 1.5), y(below) - y(below + counts[index]));
        below += counts[index];
      });
    }
    context.restore();
  }

  #grid(width, step, y) {
    const context = this.#context;
    context.strokeStyle = this.#colours.line;
    context.fillStyle = this.#colours.muted;
    context.lineWidth = 1;
    context.textAlign = 'right';
    context.textBaseline = 'middle';
    for (let value = 0; value <= this.#top + step / 8; value += step) {
      const at = Math.round(y(value)) + 0.5;
      if (at < MARGIN.top) break; // the scale is still easing, and the label would be cut off
      context.beginPath();
      context.moveTo(MARGIN.left, at);
      context.lineTo(MARGIN.left + width, at);
      context.stroke();
      context.fillText(String(value), MARGIN.left - 6, at);
    }
    context.textBaseline = 'alphabetic';
    const bottom = this.#canvas.clientHeight - 3;
    context.textAlign = 'left';
    context.fillText('60 s ago', MARGIN.left, bottom);
    context.textAlign = 'center';
    context.fillText('30 s', MARGIN.left + width / 2, bottom);
    context.textAlign = 'right';
    context.fillText('now', MARGIN.left + width, bottom);
  }

  #peak(second) {
    let peak = 0;
    for (const [at, counts] of this.#buckets) {
      if (at >= second - SECONDS) peak = Math.max(peak, counts.reduce((sum, count) => sum + count, 0));
    }
    return peak;
  }
}

/** The smallest of 1, 2, 5, 10, 20, 50, ... that is not below `value`. */
function niceStep(value) {
  const power = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, value))));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= value);
}
