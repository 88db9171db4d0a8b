"use strict";
// Interactive training curves: what an element of class `explorer` shows is drawn by uPlot from the data in #curves.
(() => {
  const source = document.getElementById("curves");
  if (!source || typeof uPlot === "undefined") return;
  const { server, sweeps } = JSON.parse(source.textContent);
  const INK = "#404040", GRID = "#e6e6e6", DOTS = "#8a8a8a";
  const REACH = 30; // pixels between the pointer and the point that it means

  const TIMES = {
    epoch: ["t, epochs", (run) => run.epoch],
    l2: ["t·λ, epochs", (run) => run.l2 > 0 ? run.epoch.map((t) => t * run.l2) : null],
    product: ["t·η·λ, epochs", (run) => run.l2 > 0 ? run.epoch.map((t) => t * run.eta * run.l2) : null],
  };
  const VALUES = {
    test_accuracy: ["test accuracy", false],
    train_loss: ["training loss (without the L2 term)", true],
    l2_norm: ["‖θ‖", true],
    coefficient: ["λ of AutoL2", true],
  };
  const POINTS = {
    "t_star-l2": ["λ", "t*, epochs", (run) => run.l2, (run) => run.t_star],
    "t_star-product": ["ηλ", "t*, epochs", (run) => run.eta * run.l2, (run) => run.t_star],
    "best-l2": ["λ", "best test accuracy", (run) => run.l2, (run) => run.best],
  };
  const show = (value) => value === null || value === undefined ? "–"
    : Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5 || value === 0 ? String(Number(value.toPrecision(4)))
    : value.toExponential(2).replace(/\.?0+e/, "e").replace("-", "−");
  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const chooser = (label, options, chosen) => {
    const select = element("select", {}, ...options.map(([value, text]) =>
      element("option", { value, textContent: text, selected: value === chosen })));
    return [element("label", {}, `${label} `, select), select];
  };

  class Explorer {
    constructor(home) {
      this.home = home;
      this.charts = [];
      this.only = null; // the λ (colour) that is shown alone
      const { sweep, x = "epoch", y = "test_accuracy", points = "t_star-l2" } = home.dataset;
      const names = Object.entries(sweeps).map(([name, { title }]) => [name, title]);
      const labelled = (table) => Object.entries(table).map(([key, [text]]) => [key, text]);
      const controls = [
        ["runs", names, sweep], ["η", [["all", "all"]], "all"], ["curves", labelled(VALUES), y],
        ["against", labelled(TIMES), x], ["points", Object.entries(POINTS).map(([k, [a, b]]) => [k, `${b} against ${a}`]), points],
      ].map((control) => chooser(...control));
      [this.sweep, this.eta, this.y, this.x, this.points] = controls.map(([, select]) => select);
      this.log = element("input", { type: "checkbox", checked: true });
      this.left = element("div", { className: "chart" });
      this.right = element("div", { className: "chart" });
      this.legend = element("div", { className: "swatches" });
      this.tip = element("div", { className: "tip", hidden: true });
      this.detail = element("p", { className: "soft detail", textContent: "Point at a curve to see its run." });
      home.append(
        element("div", { className: "controls" }, ...controls.map(([label]) => label),
          element("label", {}, this.log, " logarithmic time")),
        element("div", { className: "charts" }, this.left, this.right, this.tip), this.legend, this.detail);
      home.hidden = false; // the width is known from here on
      this.sweep.addEventListener("change", () => this.choose());
      for (const control of [this.eta, this.y, this.x, this.points, this.log]) {
        control.addEventListener("change", () => this.draw());
      }
      this.choose();
      new ResizeObserver(() => this.resize()).observe(home);
    }

    choose() {
      const { runs } = sweeps[this.sweep.value];
      const etas = [...new Set(runs.map((run) => run.eta))].sort((a, b) => a - b);
      this.eta.replaceChildren(...["all", ...etas].map((eta) => element("option", { value: eta, textContent: eta })));
      const adaptive = runs.some((run) => run.coefficient);
      for (const option of this.y.options) option.disabled = option.value === "coefficient" && !adaptive;
      if (this.y.selectedOptions[0].disabled) this.y.value = "test_accuracy";
      this.only = null;
      this.draw();
    }

    draw() {
      this.charts.forEach((chart) => chart.destroy());
      const { runs } = sweeps[this.sweep.value];
      const chosen = runs.filter((run) => this.eta.value === "all" || String(run.eta) === this.eta.value);
      this.swatches(chosen);
      this.runs = chosen.filter((run) => this.only === null || run.color === this.only);
      this.charts = [this.curves(), this.dots()];
      this.hover(null);
    }

    swatches(runs) {
      const entries = new Map(runs.map((run) => [run.color, run.l2 === null ? run.name.split(" η")[0] : run.l2]));
      const sorted = [...entries].sort(([, a], [, b]) => (typeof a === "string") - (typeof b === "string") || a - b);
      if (this.only !== null && !entries.has(this.only)) this.only = null;
      this.legend.replaceChildren(...sorted.map(([color, value]) => {
        const text = typeof value === "string" ? value : `λ = ${show(value)}`;
        const mark = element("span", { className: "swatch" });
        mark.style.background = color;
        const button = element("button", { type: "button", title: "show these runs alone" }, mark, text);
        button.setAttribute("aria-pressed", String(color === this.only));
        button.addEventListener("click", () => {
          this.only = this.only === color ? null : color;
          this.draw();
        });
        return button;
      }));
    }

    curves() {
      const [xLabel, times] = TIMES[this.x.value];
      const [yLabel, logY] = VALUES[this.y.value];
      const logX = this.log.checked;
      this.lines = this.runs.map((run) => {
        const [xs, ys] = [times(run), run[this.y.value]];
        if (!xs || !ys) return [[], []];
        const kept = xs.map((x, i) => i).filter((i) => ys[i] !== null && !(logX && xs[i] <= 0) && !(logY && ys[i] <= 0));
        return [kept.map((i) => xs[i]), kept.map((i) => ys[i])];
      });
      const series = this.runs.map((run) => ({ stroke: run.color, width: 1.5, spanGaps: true, points: { show: false } }));
      return this.chart(this.left, xLabel, yLabel, logX, logY, this.lines, series);
    }

    dots() {
      const [xLabel, yLabel, x, y] = POINTS[this.points.value];
      const logY = yLabel.startsWith("t*");
      this.spots = this.runs.map((run) =>
        run.l2 > 0 && y(run) !== null && !(logY && y(run) <= 0) ? [[x(run)], [y(run)]] : [[], []]);
      const series = this.runs.map((run) => ({
        stroke: run.color, paths: () => null,
        points: { show: true, size: 8, width: 1.5, stroke: run.color, fill: run.peaked ? run.color : "#fff" },
      }));
      const products = this.spots.filter(([xs]) => xs.length).map(([[a], [b]]) => a * b).sort((a, b) => a - b);
      const guide = logY && products.length ? products[products.length >> 1] : null;
      return this.chart(this.right, xLabel, yLabel, true, logY, this.spots, series, guide);
    }

    chart(home, xLabel, yLabel, logX, logY, tables, series, guide = null) {
      const filled = tables.map((table) => table.length && table[0].length ? table : [[], []]);
      const data = uPlot.join(filled);
      const axis = (label, log) => ({
        label, stroke: INK, font: "12px system-ui, sans-serif", labelFont: "13px system-ui, sans-serif",
        grid: { stroke: GRID, width: 1 }, ticks: { stroke: GRID, width: 1 },
        values: (_, splits) => splits.map((value) => value === null ? null
          : log && Math.abs(Math.log10(value) % 1) > 1e-9 ? "" : show(value)),
      });
      const values = filled.flatMap(([, ys]) => ys);
      const times = filled.flatMap(([xs]) => xs);
      const wide = (list) => list.length > 0 && Math.max(...list) / Math.min(...list) >= 10;
      const scale = (log, list) => ({ time: false, distr: log ? 3 : 1, ...(list.length ? {} : { range: [log ? 0.1 : 0, 1] }) });
      const chart = new uPlot({
        width: this.width(), height: 300, legend: { show: false }, focus: { alpha: 0.15 }, padding: [8, 22, 0, 0],
        cursor: { points: { show: false }, drag: { x: true, y: true, uni: 20 }, focus: { prox: -1 } },
        scales: { x: scale(logX, times), y: scale(logY, values) },
        axes: [axis(xLabel, logX && wide(times)), { ...axis(yLabel, logY && wide(values)), size: 62 }],
        series: [{}, ...series],
        hooks: {
          setCursor: [(u) => this.point(u, tables)],
          drawAxes: guide === null ? [] : [(u) => this.guide(u, guide)],
        },
      }, data, home);
      chart.over.addEventListener("mouseleave", () => this.hover(null));
      chart.root.setAttribute("role", "img");
      chart.root.setAttribute("aria-label", `${yLabel} against ${xLabel}, ${this.runs.length} runs of ${this.sweep.value}`);
      return chart;
    }

    guide(u, constant) {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.beginPath();
      ctx.setLineDash([3, 4]);
      ctx.strokeStyle = DOTS;
      const { min, max } = u.scales.x;
      ctx.moveTo(u.valToPos(min, "x", true), u.valToPos(constant / min, "y", true));
      ctx.lineTo(u.valToPos(max, "x", true), u.valToPos(constant / max, "y", true));
      ctx.stroke();
      ctx.restore();
    }

    point(u, tables) {
      const { left, top } = u.cursor;
      if (left === undefined || left < 0) return;
      let nearest = null, reach = REACH;
      tables.forEach(([xs, ys], run) => xs.forEach((x, i) => {
        const distance = Math.hypot(u.valToPos(x, "x") - left, u.valToPos(ys[i], "y") - top);
        if (distance < reach) [nearest, reach] = [{ run, x, y: ys[i], u }, distance];
      }));
      this.hover(nearest);
    }

    hover(found) {
      const index = found ? found.run : null;
      if (index !== this.hovered) {
        this.hovered = index;
        for (const chart of this.charts) {
          chart.setSeries(index === null ? null : index + 1, { focus: true });
        }
      }
      this.tip.hidden = !found;
      if (!found) return;
      const run = this.runs[found.run];
      const { u } = found;
      const [xLabel, yLabel] = u.axes.map((axis) => axis.label);
      const star = run.t_star === null ? "never learned, no t*"
        : `t* ${run.peaked ? "=" : "≥"} ${show(run.t_star)} epochs`;
      const lines = [`${run.setup} ${run.name}`.trim(), `${xLabel.split(",")[0]} = ${show(found.x)}, ${yLabel.split(" (")[0].split(",")[0]} = ${show(found.y)}`,
        `${star}, best accuracy ${show(run.best)}`];
      this.tip.replaceChildren(...lines.map((line) => element("div", { textContent: line })));
      const box = this.tip.offsetParent.getBoundingClientRect(), plot = u.over.getBoundingClientRect();
      const x = plot.left - box.left + u.valToPos(found.x, "x"), y = plot.top - box.top + u.valToPos(found.y, "y");
      this.tip.style.left = `${Math.max(0, Math.min(x + 12, box.width - this.tip.offsetWidth))}px`;
      this.tip.style.top = `${y + 14}px`;
      this.detail.replaceChildren(`${lines[0]}: ${lines[2]}. `, ...this.links(run));
    }

    links(run) {
      const name = this.sweep.value;
      const filter = `tags.results = "${name}" and attributes.run_name = "${run.name}"`;
      const csv = element("a", { href: `../../${sweeps[name].file}`, textContent: sweeps[name].file });
      const { experiment } = sweeps[name];
      if (experiment === null) return [csv];
      const place = `${server}/#/experiments/${experiment}/runs?workflowType=machine_learning&searchFilter=${encodeURIComponent(filter)}`;
      return [element("a", { href: place, textContent: "run in MLflow" }), " · ", csv];
    }

    width() {
      return Math.max(200, this.left.clientWidth);
    }

    resize() {
      for (const chart of this.charts) {
        if (chart.width !== this.width()) chart.setSize({ width: this.width(), height: 300 });
      }
    }
  }
  for (const home of document.querySelectorAll(".explorer")) new Explorer(home);
})();
