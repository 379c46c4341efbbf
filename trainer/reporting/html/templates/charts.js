// Values under the pointer, and zoom by dragging, in every chart of the page.
// Without this script, a chart still shows its curves, and values as plain tooltips.
(() => {
  "use strict";

  const MIN_DRAG = 5;

  // Returns a number with three digits, or with all digits of its integer part.
  function text(value) {
    const isInteger = Number.isInteger(value) && Math.abs(value) < 1e15;
    const isLarge = Math.abs(value) >= 999.5 && Math.abs(value) < 1e15;
    const shown = isInteger || isLarge
      ? Math.round(value).toLocaleString("en-US")
      : String(Number(value.toPrecision(3)));
    return shown.replace("-", "−");
  }

  // Returns about `num` round numbers that enclose a range.
  function ticks(low, high, num) {
    const rough = (high - low) / num;
    const power = 10 ** Math.floor(Math.log10(rough));
    const size = [1, 2, 2.5, 5, 10].map(f => f * power).find(s => s >= rough * 0.999);
    const first = Math.floor(low / size + 1e-6), last = Math.ceil(high / size - 1e-6);
    return Array.from({length: last - first + 1}, (_, i) => (first + i) * size);
  }

  // Returns the text of a tick, exact enough to tell it from the next tick.
  function tickText(value, gap) {
    const digits = Math.max(0, Math.min(12, -Math.floor(Math.log10(gap * 1.0001)) + 1));
    const rounded = Number(value.toFixed(digits));
    const isSmall = rounded !== 0 && Math.abs(rounded) < 1e-3;
    const shown = isSmall
      ? String(Number(value.toPrecision(3)))
      : rounded.toLocaleString("en-US", {maximumFractionDigits: digits});
    return shown.replace("-", "−");
  }

  function element(parent, name, attributes) {
    const made = document.createElementNS(parent.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return parent.appendChild(made);
  }

  function enliven(svg) {
    const {last, box: [left, top, right, bottom], curves} = JSON.parse(svg.dataset.chart);
    const plot = svg.parentElement, inner = svg.querySelector("svg");
    const axes = svg.querySelector(".axes"), lines = svg.querySelector(".lines");
    const whole = {axes: axes.innerHTML, lines: lines.innerHTML};
    const steps = [...new Set(curves.flatMap(c => c.points.map(p => p[0])))]
      .sort((a, b) => a - b);
    // First and last step of the view.
    let view = [0, last], dragged = null, current = null;

    svg.querySelector(".strips").remove();
    svg.setAttribute("tabindex", "0");
    const chosen = element(inner, "rect", {class: "chosen", y: top, height: bottom - top});
    const cursor = element(inner, "line", {class: "cursor", y1: top, y2: bottom});
    const tip = plot.appendChild(document.createElement("div"));
    tip.className = "tip";
    const reset = plot.appendChild(document.createElement("button"));
    reset.type = "button";
    reset.textContent = "whole run";
    for (const each of [chosen, cursor]) each.style.display = "none";
    tip.hidden = reset.hidden = true;

    const xOf = step => left + (step - view[0]) / (view[1] - view[0]) * (right - left);
    const stepOf = x => view[0] + (x - left) / (right - left) * (view[1] - view[0]);

    function pointer(event) {
      const place = new DOMPoint(event.clientX, event.clientY);
      const x = place.matrixTransform(svg.getScreenCTM().inverse()).x;
      return Math.min(Math.max(x, left), right);
    }

    function show(step) {
      current = step;
      cursor.setAttribute("x1", xOf(step));
      cursor.setAttribute("x2", xOf(step));
      cursor.style.display = "";
      tip.replaceChildren();
      const head = tip.appendChild(document.createElement("b"));
      head.textContent = `step ${text(step)}`;
      for (const curve of curves) {
        const before = curve.points.filter(point => point[0] <= step).at(-1);
        if (!before) continue;
        const row = tip.appendChild(document.createElement("div"));
        const dot = row.appendChild(document.createElement("span"));
        dot.className = `dot curve-${curve.colour}`;
        const when = before[0] === step ? "" : ` at step ${text(before[0])}`;
        row.append(`${curve.label} ${text(before[1])}${when}`);
      }
      tip.hidden = false;
      // Beside the cursor, on the side that has room.
      const {width} = svg.getBoundingClientRect(), scale = width / svg.viewBox.baseVal.width;
      const at = xOf(step) * scale, room = at + tip.offsetWidth + 10 < width;
      tip.style.left = `${Math.max(0, room ? at + 8 : at - tip.offsetWidth - 8)}px`;
    }

    function hide() {
      current = null;
      cursor.style.display = "none";
      tip.hidden = true;
    }

    function nearest(step) {
      const visible = steps.filter(each => each >= view[0] && each <= view[1]);
      return visible.reduce(
        (best, each) => Math.abs(each - step) < Math.abs(best - step) ? each : best,
        visible[0]);
    }

    function zoom(from, to) {
      const within = steps.filter(step => step >= from && step <= to);
      // A single step has no curve.
      if (within.length < 2) return;
      view = [from, to];
      reset.hidden = false;
      draw();
    }

    function showWhole() {
      view = [0, last];
      reset.hidden = true;
      axes.innerHTML = whole.axes;
      lines.innerHTML = whole.lines;
      hide();
    }

    function draw() {
      hide();
      // One more point on each side, so that a curve reaches the edges.
      const parts = curves.map(curve => {
        const points = curve.points;
        const first = points.findIndex(point => point[0] >= view[0]);
        const end = points.findLastIndex(point => point[0] <= view[1]);
        if (first < 0 || end < 0) return [];
        return points.slice(Math.max(0, first - 1), end + 2);
      });
      const values = parts.flat()
        .filter(point => point[0] >= view[0] && point[0] <= view[1])
        .map(point => point[1]);
      let low = Math.min(...values), high = Math.max(...values);
      if (high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high))) {
        const margin = 0.1 * Math.abs(low) || 1;
        [low, high] = [low - margin, high + margin];
      }
      const rows = ticks(low, high, 4);
      [low, high] = [rows[0], rows.at(-1)];
      const yOf = value => top + (high - value) / (high - low) * (bottom - top);

      axes.replaceChildren();
      for (const value of rows) {
        const y = yOf(value);
        element(axes, "line", {class: "grid", x1: left, x2: right, y1: y, y2: y});
        element(axes, "text", {x: left - 6, y: y + 3.5, "text-anchor": "end"})
          .textContent = tickText(value, rows[1] - rows[0]);
      }
      const columns = ticks(view[0], view[1], 4);
      for (const step of columns.filter(each => each >= view[0] && each <= view[1])) {
        element(axes, "text", {x: xOf(step), y: bottom + 17, "text-anchor": "middle"})
          .textContent = tickText(step, columns[1] - columns[0]);
      }
      lines.replaceChildren();
      curves.forEach((curve, index) => {
        const drawn = parts[index].map(([step, value]) => [xOf(step), yOf(value)]);
        const name = `curve-${curve.colour}`;
        if (drawn.length > 1) {
          element(lines, "polyline", {
            class: curve.dashed ? `${name} dashed` : name,
            points: drawn.map(place => place.join(",")).join(" "),
          });
        }
        if (drawn.length <= 14) {
          for (const [x, y] of drawn) element(lines, "circle", {class: name, cx: x, cy: y, r: 2.4});
        }
      });
    }

    svg.addEventListener("pointerdown", event => {
      dragged = pointer(event);
    });
    svg.addEventListener("pointermove", event => {
      const x = pointer(event);
      if (dragged !== null && Math.abs(x - dragged) > MIN_DRAG) {
        svg.setPointerCapture(event.pointerId);
        chosen.setAttribute("x", Math.min(x, dragged));
        chosen.setAttribute("width", Math.abs(x - dragged));
        chosen.style.display = "";
      }
      show(nearest(stepOf(x)));
    });
    svg.addEventListener("pointerup", event => {
      const x = pointer(event);
      chosen.style.display = "none";
      if (dragged !== null && Math.abs(x - dragged) > MIN_DRAG) {
        zoom(...[stepOf(dragged), stepOf(x)].sort((a, b) => a - b));
      }
      dragged = null;
    });
    svg.addEventListener("pointercancel", () => {
      dragged = null;
      chosen.style.display = "none";
    });
    svg.addEventListener("pointerleave", event => {
      if (event.pointerType === "mouse") hide();
    });
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", event => {
      const move = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (event.key === "Escape") showWhole();
      if (!move) return;
      event.preventDefault();
      const visible = steps.filter(step => step >= view[0] && step <= view[1]);
      const from = current === null ? (move > 0 ? -1 : visible.length)
        : visible.indexOf(current);
      show(visible[Math.min(Math.max(from + move, 0), visible.length - 1)]);
    });
    svg.addEventListener("dblclick", showWhole);
    reset.addEventListener("click", showWhole);
  }

  document.querySelectorAll("svg[data-chart]").forEach(enliven);
})();
