// How a picture is shown, as plain numbers and codes: what is stored of a view and draws it again on a film of any
// size. Nothing in it is about a patient.

/** @typedef {{
      picture: string,
      window: { centre: number, width: number, inverted: boolean },
      place: { fitted: boolean, zoom: number, x: number, y: number, turn: number, flipped: boolean },
      overlay: {
        setting: import("./overlay.js").Setting, shown: boolean, mode: import("./overlay.js").Mode,
        opacity: number, region: boolean,
      },
      threshold: number | null,
      outline: boolean,
      shutter: boolean,
      beside?: ViewState | null,
    }} ViewState  `zoom`: of the size that fits the film; `x`, `y`: the source pixel in its middle; `outline`:
      whether the reader's outline is shown; `shutter`: whether the edges that the sender hides are hidden;
      `beside`: the picture beside, of the picture that is read alone */

/** @param {import("./viewer.js").Viewer} viewer  @returns {ViewState} */
export function stateOf(viewer) {
  const { geometry, windowing, overlay, info } = viewer;
  const middle = geometry.toPicture(geometry.width / 2, geometry.height / 2);
  return {
    picture: info.picture,
    window: { centre: windowing.centre, width: windowing.width, inverted: windowing.inverted },
    place: {
      fitted: geometry.fitted, zoom: geometry.scale / geometry.fitScale(), x: middle.x, y: middle.y,
      turn: geometry.turn, flipped: geometry.flipped,
    },
    overlay: {
      setting: overlay.setting, shown: overlay.shown, mode: overlay.mode, opacity: overlay.opacity,
      region: overlay.showsRegion,
    },
    threshold: viewer.threshold?.value ?? null,
    outline: viewer.readerLayer?.shown ?? true,
    shutter: viewer.shutter.closed,
    ...(viewer.beside && { beside: viewer.beside.state() }),
  };
}

/** Shows the picture as it was; parts that the state lacks stay as they are. Nothing is remembered of it as a
    choice of the reader.
    @param {import("./viewer.js").Viewer} viewer  @param {Partial<ViewState>} state */
export function restoreTo(viewer, state) {
  const { geometry, windowing, overlay, shutter } = viewer;
  const { window: grey, place, overlay: layer } = state;
  if (grey && areNumbers(grey.centre, grey.width)) {
    if (windowing.inverted !== Boolean(grey.inverted)) windowing.invert();
    windowing.set(grey.centre, grey.width);
  }
  if (place && areNumbers(place.zoom, place.x, place.y, place.turn)) {
    geometry.turn = ((Math.round(place.turn) % 4) + 4) % 4;
    geometry.flipped = Boolean(place.flipped);
    geometry.fit();
    if (!place.fitted) geometry.show(place.x, place.y, place.zoom * geometry.fitScale());
  }
  if (layer) {
    overlay.setting = ["on", "key", "off"].includes(layer.setting) ? layer.setting : overlay.setting;
    overlay.mode = ["outline", "fill", "heat"].includes(layer.mode) ? layer.mode : overlay.mode;
    overlay.shown = Boolean(layer.shown);
    overlay.showsRegion = Boolean(layer.region);
    if (areNumbers(layer.opacity)) overlay.opacity = Math.min(1, Math.max(0.1, layer.opacity));
  }
  if (areNumbers(state.threshold)) viewer.threshold?.set(Math.round(state.threshold * 100));
  if (viewer.readerLayer && typeof state.outline === "boolean" && viewer.readerLayer.shown !== state.outline) viewer.readerLayer.toggle();
  if (typeof state.shutter === "boolean") shutter.closed = state.shutter && shutter.polygons.length > 0;
  viewer.moved();
  if (viewer.beside && "beside" in state) viewer.beside.restore(state.beside);
}

/** @param {unknown[]} values  @returns {boolean} */
function areNumbers(...values) { return values.every((value) => Number.isFinite(value)); }
