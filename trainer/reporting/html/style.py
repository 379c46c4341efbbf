"""How the page looks: on a phone, on a wide screen, on paper, and in the dark."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1a1d23; --muted: #667085;
  --line: #e3e6ec; --accent: #4f46e5;
  --shadow: 0 1px 2px #1018280f, 0 1px 6px #1018280a;
  --split-0: #4f46e5; --split-1: #e07a1f; --split-2: #0e9384; --split-3: #c11574;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1116; --card: #181b22; --text: #e6e8ee; --muted: #98a1b3;
    --line: #2a2f3a; --accent: #a5a0ff; --shadow: none;
    --split-0: #8f88ff; --split-1: #f5a04d; --split-2: #3fc9b4; --split-3: #f27ab8;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 74rem;
  background: var(--page); color: var(--text);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { margin: 0; font-size: 2.1rem; line-height: 1.2; letter-spacing: -0.02em;
  overflow-wrap: anywhere; }
h2 { margin: 2.75rem 0 0.9rem; font-size: 1.2rem; letter-spacing: -0.01em; }
h3 { margin: 0; font-size: 0.95rem; font-weight: 600; overflow-wrap: anywhere; }
p { margin: 0.35rem 0 0; }
code, .mono { font: 0.86em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
.muted, small, figcaption p { color: var(--muted); }
.note { margin-top: 1rem; padding: 0.6rem 0.9rem; border-left: 3px solid var(--split-1);
  background: var(--card); border-radius: 0 8px 8px 0; }
.card, figure, details {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  box-shadow: var(--shadow);
}
.progress { height: 5px; margin-top: 1.25rem; border-radius: 3px;
  background: var(--line); overflow: hidden; }
.progress div { height: 100%; border-radius: 3px; background: var(--accent); }
.tiles { display: grid; gap: 0.75rem; margin-top: 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.tiles .card { padding: 0.8rem 1rem; }
.tiles .value { font-size: 1.3rem; font-weight: 650; letter-spacing: -0.02em;
  white-space: nowrap;
  font-variant-numeric: tabular-nums; line-height: 1.35; }
.tiles small { display: block; font-size: 0.8rem; line-height: 1.35; }
.gallery { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; padding: 0.75rem; min-width: 0; max-width: 100%; }
.gallery figure { flex: var(--aspect) 1 calc(var(--aspect) * 17rem);
  max-width: min(100%, var(--aspect) * 25rem); }
figure img { display: block; width: 100%; height: auto; border-radius: 6px; }
img.pixels { image-rendering: pixelated; }
figcaption { padding: 0.65rem 0.2rem 0; font-size: 0.85rem; }
figcaption small { float: right; padding-left: 0.75rem; font-weight: 400; }
.film { display: grid; grid-auto-flow: column; gap: 0.75rem; overflow-x: auto;
  grid-auto-columns: minmax(9.5rem, 1fr); padding-bottom: 0.25rem; }
.film figure { padding: 0.5rem; }
.film figcaption { padding: 0.4rem 0 0; text-align: center; color: var(--muted); }
.charts { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); }
.charts .card { padding: 0.8rem 0.8rem 0.3rem; min-width: 0; }
.charts header { display: flex; flex-wrap: wrap; gap: 0 1rem; padding: 0 0.2rem;
  align-items: baseline; }
.charts header small { margin-left: auto; font-size: 0.8rem; }
.charts p { margin: 0 0.2rem 0.5rem; font-size: 0.8rem; color: var(--muted); }
.last { margin-right: 1rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.dot { display: inline-block; width: 0.6em; height: 0.6em; margin-right: 0.4em;
  border-radius: 50%; }
svg { display: block; width: 100%; height: auto; }
svg svg { overflow: hidden; }
svg text { fill: var(--muted); font-size: 10.5px; font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg polyline { fill: none; stroke-width: 1.7; stroke-linejoin: round;
  stroke-linecap: round; }
polyline.split-0 { stroke: var(--split-0); }
polyline.split-1 { stroke: var(--split-1); }
polyline.split-2 { stroke: var(--split-2); }
polyline.split-3 { stroke: var(--split-3); }
circle.split-0, .dot.split-0 { fill: var(--split-0); background: var(--split-0); }
circle.split-1, .dot.split-1 { fill: var(--split-1); background: var(--split-1); }
circle.split-2, .dot.split-2 { fill: var(--split-2); background: var(--split-2); }
circle.split-3, .dot.split-3 { fill: var(--split-3); background: var(--split-3); }
.scroll { overflow-x: auto; padding: 0.35rem 1rem; }
table { width: 100%; border-collapse: collapse; font-size: 0.88rem; }
th, td { padding: 0.34rem 0.9rem 0.34rem 0; text-align: left; vertical-align: top; }
tr + tr > *, thead + tbody > tr:first-child > * { border-top: 1px solid var(--line); }
th { font-weight: 500; } thead th { color: var(--muted); font-size: 0.8rem; }
td { overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.numbers td, .numbers thead th + th { text-align: right; white-space: nowrap; }
.numbers td:last-child, .numbers th:last-child { padding-right: 0; }
.pairs th { width: 15rem; color: var(--muted); }
.two { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
.two > * { min-width: 0; }
details summary { padding: 0.7rem 1rem; cursor: pointer; font-weight: 500; }
details .columns { columns: 26rem; column-gap: 2.5rem; padding: 0 1rem 0.9rem; }
details dl { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
  margin: 0; padding: 0.28rem 0; gap: 0.75rem; break-inside: avoid;
  border-top: 1px solid var(--line); font-size: 0.86rem; }
dt { color: var(--muted); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 3rem; color: var(--muted); font-size: 0.82rem; }
@media (max-width: 40rem) {
  body { padding: 1.5rem 0.9rem 3rem; } h1 { font-size: 1.6rem; }
  .gallery figure { flex-basis: 100%; max-width: 100%; } .pairs th { width: 9rem; }
}
@media print { body { max-width: none; } figure, .card { break-inside: avoid; } }
"""
