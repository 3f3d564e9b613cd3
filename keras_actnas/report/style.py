"""The look of a report: one style sheet, light and dark, for phones and desktops."""

LIGHT = {
    "page": "#f6f7f9", "card": "#ffffff", "ink": "#16202c", "soft": "#55606e", "edge": "#dde2e8", "grid": "#e7ebf0",
    "proposal": "#0062a8", "reference": "#16202c", "uniform": "#8a5a00", "more": "#f0932b", "less": "#459fe3",
    "code": "#f0f3f6",
}  # fmt: skip
DARK = {
    "page": "#0f141a", "card": "#182029", "ink": "#e9eef4", "soft": "#a3b0be", "edge": "#2c3743", "grid": "#28323d",
    "proposal": "#6cb8f0", "reference": "#e9eef4", "uniform": "#f0b860", "more": "#a05600", "less": "#1c6cb0",
    "code": "#111820",
}  # fmt: skip


def style_sheet() -> str:
    """Returns the style sheet."""
    return f":root{{{_variables(LIGHT)}}}@media(prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}{_RULES}"


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


_RULES = """
:root{color-scheme:light dark}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
  font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
  -webkit-text-size-adjust:100%}
main,header{max-width:1160px;margin:0 auto;padding:0 16px}
header{padding-top:32px}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 6px;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:0 0 14px}
h3{font-size:.95rem;margin:0 0 8px;font-weight:600}
header p{color:var(--soft);margin:0 0 14px;overflow-wrap:anywhere}
nav ul{display:flex;flex-wrap:wrap;gap:6px 8px;list-style:none;margin:0 0 20px;padding:0}
nav a{display:block;padding:4px 12px;border:1px solid var(--edge);border-radius:99px;color:var(--ink);
  background:var(--card);text-decoration:none;font-size:.88rem}
a:focus-visible,[tabindex]:focus-visible{outline:2px solid var(--proposal);outline-offset:2px}
section{background:var(--card);border:1px solid var(--edge);border-radius:14px;padding:20px;margin:0 0 18px;
  scroll-margin-top:12px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(230px,1fr));gap:12px;margin-bottom:14px}
.tile{border:1px solid var(--edge);border-radius:12px;padding:14px 16px;background:var(--page)}
.tile h3{color:var(--soft);font-size:.82rem;margin:0}
.tile p{margin:4px 0 0;font-size:.86rem;color:var(--soft)}
.tile .value{font-size:1.5rem;font-weight:700;line-height:1.25;color:var(--ink)}
.tile:first-child .value{color:var(--proposal)}
.note{color:var(--soft);font-size:.88rem;margin:10px 0 0;max-width:76ch}
.scroll+.figures,.figures+ul{margin-top:18px}
section>ul{margin:0;padding-left:20px;max-width:90ch}
section>ul li,ol li{margin-bottom:4px;overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:20px;align-items:start}
figure{margin:0;min-width:0;max-width:520px}
figcaption{font-size:.95rem;font-weight:600;margin:0 0 8px}
svg{display:block;width:100%;height:auto;font-family:inherit}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;min-width:100%}
caption{text-align:left;color:var(--soft);font-size:.84rem;padding-bottom:6px}
th,td{padding:6px 10px;border-bottom:1px solid var(--edge);text-align:right;white-space:nowrap}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom}
th:first-child,.words td:last-child,.words th:last-child,.kinds td:nth-child(2),.kinds th:nth-child(2){text-align:left}
tbody th{font-weight:600;position:sticky;left:0;background:var(--card)}
.words td:last-child{white-space:normal;min-width:280px}
#conditions td{min-width:0;overflow-wrap:anywhere}
#conditions tbody th{white-space:normal;position:static}
pre{background:var(--code);border:1px solid var(--edge);border-radius:8px;padding:10px 12px;margin:6px 0 12px;
  overflow-x:auto;font-size:.84rem}
ol{margin:0;padding-left:20px}
.legend{display:flex;flex-wrap:wrap;gap:4px 14px;list-style:none;margin:0 0 12px;padding:0;font-size:.88rem}
.swatch{display:inline-block;width:1.4em;border-radius:4px;text-align:center;font-weight:700;font-size:.8rem}
.ramps{display:flex;gap:8px;align-items:center;font-size:.8rem;color:var(--soft);margin:0 0 8px;max-width:560px}
.ramp{flex:1;height:10px;border-radius:5px;background:linear-gradient(90deg,var(--less),var(--card),var(--more));
  border:1px solid var(--edge)}
text{fill:var(--ink);font-size:11px}
.label{paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
.tick{fill:var(--soft);font-size:10px}
.axis{fill:var(--soft);font-size:11px}
.site{fill:var(--soft);font-size:9.5px}
.number{font-size:9px;font-variant-numeric:tabular-nums}
.letter{font-size:11px;font-weight:700}
.grid{stroke:var(--grid)}
.zero{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3}
.leader{stroke:var(--soft);stroke-width:.7}
.bar{stroke:currentColor;stroke-width:1.4}
.proposal{color:var(--proposal)}
.reference{color:var(--reference)}
.uniform{color:var(--uniform)}
.mark{stroke:currentColor;stroke-width:1.6;fill:currentColor}
.uniform .mark{fill:var(--card)}
.predicted{stroke:currentColor;stroke-width:1.3;fill:var(--card)}
.front{fill:none;stroke:var(--soft);stroke-width:1.2;stroke-dasharray:5 4}
.trace{fill:none;stroke:var(--proposal);stroke-width:1.3}
.fitted{fill:none;stroke:var(--uniform);stroke-width:1.1}
.unseen{fill:var(--proposal)}
.cell{fill:var(--page)}
.none{fill:none;stroke:var(--edge)}
.more{fill:var(--more)}
.less{fill:var(--less)}
.hatch{stroke:var(--soft);stroke-width:.8;opacity:.55}
.own{fill:var(--soft)}
footer{color:var(--soft);font-size:.82rem;max-width:1160px;margin:0 auto;padding:0 16px 32px}
@media(max-width:600px){section{padding:16px 12px;border-radius:12px}header{padding-top:20px}h1{font-size:1.5rem}
  main,header,footer{padding-left:10px;padding-right:10px}.tile .value{font-size:1.3rem}th,td{padding:6px 7px}}
@media print{nav{display:none}section{break-inside:avoid}}
"""
