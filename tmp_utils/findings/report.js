// Draws each chart when it is first seen. plotly.js is on the page compressed; a chart is JSON in its own element. What
// belongs to further concepts lies in files beside the page, which are loaded when their part is unfolded.
const NARROW_PX = 600, FONT_PX = 11;
const CONFIG = { responsive: true, displayModeBar: false, scrollZoom: false };

// Labels stand where the figure has placed them for this width. On a phone, the words are smaller and a colour scale
// makes room for the chart.
function fitted({ data, layout }, width) {
  const offsets = layout.meta?.label_offsets || {};
  const [nearest] = Object.keys(offsets).sort((a, b) => Math.abs(a - width) - Math.abs(b - width));
  (offsets[nearest] || []).forEach(([right, down, far], k) => {
    Object.assign(layout.annotations[k], { ax: right, ay: down, arrowcolor: far ? "#8A8F98" : "rgba(0,0,0,0)" });
  });
  if (width < NARROW_PX) {
    (layout.annotations || []).forEach((note) => { note.font = { ...note.font, size: FONT_PX }; });
    layout.legend = { ...layout.legend, font: { size: FONT_PX } };
    Object.keys(layout).filter((key) => /^[xy]axis/.test(key)).forEach((key) => {
      layout[key].tickfont = { size: FONT_PX };
      if (layout[key].title) layout[key].title.font = { size: FONT_PX };
    });
    data.forEach((trace) => { if (trace.type === "heatmap") trace.showscale = false; });
  }
  return { data, layout };
}

function draw(part) {
  part.querySelectorAll(".plot:not(.drawn)").forEach((plot) => {
    if (!plot.clientWidth) return;  // folded away
    const chart = fitted(JSON.parse(plot.firstElementChild.textContent), plot.clientWidth);
    plot.classList.add("drawn");
    plot.textContent = "";
    Plotly.newPlot(plot, chart.data, chart.layout, CONFIG);
  });
}

function load(details) {
  const name = details.dataset?.part;
  if (!name || details.dataset.loaded || !details.open) return;
  details.dataset.loaded = "yes";
  const script = document.createElement("script");
  script.src = name;
  script.onerror = () => details.append(`${name} is missing: copy the whole folder that this page lies in.`);
  document.head.append(script);
}

function part(name, html) {  // called by the file of that name
  document.querySelectorAll(`details[data-part="${name}"][data-loaded="yes"]`).forEach((details) => {
    details.dataset.loaded = "filled";
    details.insertAdjacentHTML("beforeend", html);
    if (window.Plotly) draw(details);
  });
}

async function start() {
  const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  draw(document);
  document.addEventListener("toggle", (event) => draw(event.target), true);
}

document.addEventListener("toggle", (event) => load(event.target), true);
if (document.getElementById("plotly").textContent) {
  start().catch((error) => {
    document.querySelectorAll(".plot").forEach((plot) => { plot.textContent = `This browser cannot draw the chart: ${error}`; });
  });
}
