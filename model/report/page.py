"""How the report page looks. In: nothing. Out: a template with places for :meth:`str.format`, and its style sheet."""

__all__ = ["PAGE", "STYLE"]

STYLE = """
:root { --ink: #1f2933; --muted: #616e7c; --line: #e4e7eb; --blue: #2f6fde; --ground: #f5f7fa; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 14px; }
h2 small { color: var(--muted); font-weight: normal; font-size: 14px; margin-left: 8px; }
p.lead { color: var(--muted); margin: 0 0 24px; }
section { background: white; border: 1px solid var(--line); border-radius: 12px; padding: 22px 24px; margin-top: 18px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 12px; }
.card { background: white; border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; }
.card b { display: block; font-size: 26px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.card:first-child { background: var(--blue); border-color: var(--blue); color: white; }
.card span { font-size: 13px; color: var(--muted); }
.card:first-child span { color: #dbe8ff; }
.note { background: #fff8e6; border: 1px solid #f5dfa4; border-radius: 10px; padding: 10px 14px; margin: 14px 0 0;
  font-size: 14px; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: minmax(0, 13fr) minmax(0, 10fr); gap: 18px; }
.pair section { min-width: 0; }
@media (max-width: 860px) { .pair { grid-template-columns: 1fr; gap: 0; } }
img.plot { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 7px 10px 7px 0; border-bottom: 1px solid var(--line); font-weight: normal; }
tbody th { font-weight: 600; max-width: 260px; overflow-wrap: anywhere; unicode-bidi: isolate; }
thead th { color: var(--muted); font-size: 13px; white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
.n { text-align: right; padding-right: 18px; white-space: nowrap; }
.none { color: var(--muted); }
.bar { position: relative; height: 20px; background: var(--ground); border-radius: 5px; overflow: hidden; min-width: 58px; }
.bar i { position: absolute; inset: 0 auto 0 0; background: #bcd3fa; }
.bar span { position: relative; padding-left: 7px; font-size: 12.5px; line-height: 20px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 16px 12px; }
figure { margin: 0; }
figure img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 8px; display: block; background: var(--ground); }
figcaption { overflow-wrap: anywhere; font-size: 12.5px; line-height: 1.35; margin-top: 5px; color: var(--muted); }
figcaption b { color: #c2410c; }
details summary { cursor: pointer; font-weight: 600; font-size: 17px; }
details table { margin-top: 12px; }
.settings th { width: 190px; color: var(--muted); font-weight: normal; }
.settings td { overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: 13px; margin-top: 24px; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="lead">{lead}</p>
<div class="cards">{cards}</div>
{notes}
<section><h2>Training</h2><img class="plot" src="{curves}" alt="loss and accuracy by epoch"></section>
<div class="pair">
<section><h2>Confusion <small>{main}, shaded by share of the row</small></h2>
<img class="plot" src="{confusion}" alt="confusion matrix, rows actual, columns predicted"></section>
<section><h2>Classes <small>{main}</small></h2><div class="wide">{classes}</div></section>
</div>
<section><h2>Splits</h2><div class="wide">{splits}</div></section>
<section><h2>Surest mistakes <small>{main}: what the network said, how sure it was, and what the label says</small></h2>{mistakes}</section>
<section><details><summary>Settings</summary>{settings}</details></section>
<section><details><summary>Machine and versions</summary>{environment}</details></section>
<footer>Figures are those of the best weights, without augmentation. Accuracy "while training" is counted on augmented batches.</footer>
</main>
</body>
</html>
"""
