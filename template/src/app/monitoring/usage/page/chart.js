// Bars that stand for days, each stacked of what it is made of.

const HEIGHT = 260;
const MARGIN = { top: 8, right: 20, bottom: 26, left: 64 };

// Draw `series`, a list of {name, values} with a value a day, the lowest first, `width` pixels wide. `format`
// turns a value into a text, `dayOf` a day. A screen reader is told `summary`, and reads the tables.
export function stackedBars(days, series, { width, format, dayOf, summary }) {
  const sums = days.map((_, i) => series.reduce((sum, { values }) => sum + values[i], 0));
  const step = niceStep(Math.max(...sums));
  const top = Math.max(step, Math.ceil(Math.max(...sums) / step - 1e-9) * step);
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const y = (value) => MARGIN.top + inner.height * (1 - value / top);
  const slot = inner.width / days.length;
  const thick = Math.min(48, slot * 0.8);

  const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": summary });
  for (let tick = 0; tick <= Math.round(top / step); tick++) {
    const at = y(tick * step);
    svg.append(
      shape("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at }),
      shape("text", { x: MARGIN.left - 8, y: at + 4, "text-anchor": "end" }, format(tick * step)),
    );
  }
  // As many days are named as there is room for, today among them.
  const every = Math.ceil(days.length / Math.max(1, Math.floor(inner.width / 56)));
  days.forEach((day, i) => {
    const middle = MARGIN.left + slot * (i + 0.5);
    let base = 0;
    series.forEach(({ name, values }, order) => {
      const value = values[i];
      if (!value) return;
      const box = { x: middle - thick / 2, y: y(base + value), width: thick, height: y(base) - y(base + value) };
      const bar = shape("rect", { class: `bar series-${order}`, ...box });
      bar.append(shape("title", {}, `${dayOf(day)}, ${name}: ${format(value)}`));
      svg.append(bar);
      base += value;
    });
    if ((days.length - 1 - i) % every) return;
    svg.append(shape("text", { x: middle, y: HEIGHT - 6, "text-anchor": "middle" }, dayOf(day)));
  });
  return svg;
}

// Return 1, 2 or 5 times a power of ten, of which four or so make `most`.
function niceStep(most) {
  const rough = most / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((times) => times * power >= rough - 1e-12);
}

function shape(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(text);
  return made;
}
