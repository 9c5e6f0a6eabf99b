// The lines under the figures: SVG, because a canvas each would be much for so little.

const WIDTH = 100;
const HEIGHT = 28;
const PAD = 2;

const SVG = "http://www.w3.org/2000/svg";

/** Draws one or two lines of values (null: a gap) over the width. */
export function spark(svg, lines) {
  const values = lines.flat().filter((value) => value != null);
  const top = Math.max(...values, 0);
  if (!values.length) {
    svg.replaceChildren();
    return;
  }
  const paths = lines.flatMap((line, index) => {
    const points = line.map((value, at) => [(at / Math.max(1, line.length - 1)) * WIDTH, value]).filter(([, value]) => value != null);
    if (!points.length) return [];
    const drawn = points.map(([x, value]) => `${x.toFixed(2)} ${(HEIGHT - PAD - (top ? value / top : 0) * (HEIGHT - 2 * PAD)).toFixed(2)}`);
    const stroke = path(`M${drawn.join("L")}`, index ? "second" : null);
    if (index) return [stroke];
    const area = path(`M${points[0][0].toFixed(2)} ${HEIGHT}L${drawn.join("L")}L${points.at(-1)[0].toFixed(2)} ${HEIGHT}Z`, "area");
    return [area, stroke];
  });
  svg.replaceChildren(...paths);
}

function path(d, kind) {
  const element = document.createElementNS(SVG, "path");
  element.setAttribute("d", d);
  if (kind) element.dataset[kind] = "";
  return element;
}

/** A bar of parts, by name: how many of each. */
export function shares(svg, parts) {
  const total = Object.values(parts).reduce((sum, count) => sum + count, 0);
  let x = 0;
  svg.replaceChildren(...Object.entries(parts).sort().map(([name, count]) => {
    const rect = document.createElementNS(SVG, "rect");
    const width = (WIDTH * count) / total;
    for (const [key, value] of Object.entries({ x, y: HEIGHT - 6, width, height: 6 })) rect.setAttribute(key, value);
    rect.dataset.state = name;
    x += width;
    return rect;
  }));
}
