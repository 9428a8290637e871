// On a phone, words in a plot are smaller and a colour scale makes room. A plot that is folded away has no width yet.
const NARROW_PX = 600, FONT_PX = 9;

function fitted(plot) {
  Plotly.Plots.resize(plot);
  if (!plot.clientWidth || plot.clientWidth >= NARROW_PX || plot.narrowed) return;
  plot.narrowed = true;
  const words = {};
  (plot.layout.annotations || []).forEach((_, k) => { words[`annotations[${k}].font.size`] = FONT_PX; });
  Object.keys(plot.layout).filter((key) => /^[xy]axis/.test(key)).forEach((key) => {
    words[`${key}.title.font.size`] = words[`${key}.tickfont.size`] = FONT_PX;
  });
  Plotly.relayout(plot, words);
  const maps = plot.data.map((trace, k) => (trace.type === "heatmap" ? k : -1)).filter((k) => k >= 0);
  if (maps.length) Plotly.restyle(plot, { showscale: false }, maps);
}

const plots = (part) => part.querySelectorAll(".js-plotly-plot");
addEventListener("load", () => plots(document).forEach(fitted));
document.addEventListener("toggle", (event) => plots(event.target).forEach(fitted), true);
