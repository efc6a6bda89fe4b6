// A picture on the stage: zoom, pan, and the orientation that its file says.

// By EXIF's number: where a picture of width w and height h puts its pixels.
const TURNS = {
  1: () => [1, 0, 0, 1, 0, 0],
  2: (w) => [-1, 0, 0, 1, w, 0],
  3: (w, h) => [-1, 0, 0, -1, w, h],
  4: (w, h) => [1, 0, 0, -1, 0, h],
  5: () => [0, 1, 1, 0, 0, 0],
  6: (w, h) => [0, 1, -1, 0, h, 0],
  7: (w, h) => [0, -1, -1, 0, h, w],
  8: (w) => [0, -1, 1, 0, 0, w],
};
const LEAST = 1 / 64;
const MOST = 64;
const PIXELS = 2; // from this zoom on, pixels are squares
const WHEEL = 0.0015;

export class View {
  /**
   * @param {HTMLElement} stage
   * @param {HTMLImageElement} image in it.
   * @param {(zoom: number, fits: boolean) => void} changed is told of every change.
   */
  constructor(stage, image, changed) {
    Object.assign(this, { stage, image, changed, scale: 1, x: 0, y: 0, fits: true });
    this.pointers = new Map();
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.moved(event));
    for (const name of ["pointerup", "pointercancel"]) {
      stage.addEventListener(name, (event) => this.up(event));
    }
    new ResizeObserver(() => (this.fits ? this.fit() : this.draw())).observe(stage);
  }

  /** Whether there is a picture. */
  get shown() {
    return !this.image.hidden;
  }

  /** Zoom in screen pixels to a pixel of the picture. */
  get zoom() {
    return this.scale * devicePixelRatio;
  }

  /** Shows a picture of a size; the image has its source. */
  show(width, height, orientation) {
    this.turn = (TURNS[orientation] ?? TURNS[1])(width, height);
    const turned = orientation >= 5;
    [this.width, this.height] = turned ? [height, width] : [width, height];
    this.image.width = width;
    this.image.height = height;
    this.image.hidden = false;
    this.stage.classList.add("shown");
    this.fit();
  }

  hide() {
    this.image.hidden = true;
    this.stage.classList.remove("shown");
  }

  /** All of the picture, small ones as they are. */
  fit() {
    if (!this.shown) return;
    const { clientWidth, clientHeight } = this.stage;
    this.scale = Math.min(clientWidth / this.width, clientHeight / this.height, 1);
    this.fits = true;
    this.draw();
  }

  /** A screen pixel for each pixel of the picture. */
  actual() {
    this.zoomBy(1 / this.zoom);
  }

  /** Zooms about a point of the stage, its middle if none is given. */
  zoomBy(factor, at) {
    if (!this.shown) return;
    const { clientWidth, clientHeight } = this.stage;
    const [x, y] = at ?? [clientWidth / 2, clientHeight / 2];
    const zoom = Math.min(Math.max(this.zoom * factor, LEAST), MOST);
    const change = zoom / this.zoom;
    this.x = x - (x - this.x) * change;
    this.y = y - (y - this.y) * change;
    this.scale *= change;
    this.fits = false;
    this.draw();
  }

  pan(x, y) {
    if (!this.shown) return;
    this.x += x;
    this.y += y;
    this.draw();
  }

  draw() {
    if (!this.shown) return;
    const inside = (at, size, room) =>
      size <= room ? (room - size) / 2 : Math.min(Math.max(at, room - size), 0);
    const { clientWidth, clientHeight } = this.stage;
    this.x = inside(this.x, this.width * this.scale, clientWidth);
    this.y = inside(this.y, this.height * this.scale, clientHeight);
    const { x, y, scale, turn } = this;
    this.image.style.transform =
      `translate(${x}px, ${y}px) scale(${scale}) matrix(${turn.join(", ")})`;
    this.image.classList.toggle("pixels", this.zoom >= PIXELS);
    this.changed(this.zoom, this.fits);
  }

  // What pointers do.

  place(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  wheel(event) {
    if (!this.shown) return;
    event.preventDefault();
    const rows = event.deltaMode ? 20 : 1;
    const change = Math.exp(-event.deltaY * rows * WHEEL);
    this.zoomBy(change, this.place(event));
  }

  down(event) {
    if (!this.shown || event.button || event.target.closest("button")) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
    this.stage.classList.add("held");
  }

  moved(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.place(event);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (other) {
      const far = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      this.zoomBy(far(now) / Math.max(far(before), 1), middle);
      this.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    } else {
      this.pan(now[0] - before[0], now[1] - before[1]);
    }
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.stage.classList.remove("held");
  }
}
