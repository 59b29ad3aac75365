"""The one style sheet of a run: a calm column in the notebook's own fonts, colour for state only, light and dark.

It stands in the page once a view. Where a page drops it (an untrusted notebook, GitHub) the elements read well bare;
JupyterLab leaves the few inline styles in place then (but no variables in them).
"""

from __future__ import annotations

_LIGHT = """
--smol-dim:#59636e;--smol-line:var(--jp-border-color2,var(--vscode-panel-border,#dfe3e8));--smol-soft:#f5f6f8;
--smol-now:#1f5fd0;--smol-ok:#1a7f47;--smol-bad:#b5271d;--smol-warn:#8a5a00;
--smol-k:#7a3ec8;--smol-s:#0a6b3d;--smol-d:#0550ae;--smol-c:#5d6772"""
DARK = """
--smol-dim:#a3acb6;--smol-line:var(--jp-border-color2,var(--vscode-panel-border,#3a4149));--smol-soft:#1c1f23;
--smol-now:#7aa2ff;--smol-ok:#4cc38a;--smol-bad:#ff857c;--smol-warn:#e0b252;
--smol-k:#c8a6ff;--smol-s:#8fd6a7;--smol-d:#8db9ff;--smol-c:#98a2ad"""
_DARK_PAGES = ('[data-jp-theme-light="false"]', ".vscode-dark", ".vscode-high-contrast", '[data-theme="dark"]')

# As exact as this, or JupyterLab's own rules for outputs win.
_CODE = ".smol-run .smol-body pre.smol-code"
_OUT = ".smol-run :is(.smol-body,.smol-final) pre.smol-out"

INDENTED = "padding:0 14px 10px 45px"
BEGUN = "padding:0 14px 0 45px"
BARRED = "border-left:2px solid #888;padding:0 0 0 10px"

STYLE = f"""<style>
.smol-run{{{_LIGHT.strip()};
color:var(--jp-content-font-color1,var(--vscode-editor-foreground,currentColor));
font-family:var(--jp-content-font-family,var(--vscode-font-family,system-ui,sans-serif));
font-size:var(--jp-content-font-size1,14px);line-height:1.5;box-sizing:border-box;overflow-wrap:anywhere}}
{",".join(f"{page} .smol-run" for page in _DARK_PAGES)}{{{DARK.strip()}}}
.smol-run *{{box-sizing:border-box}}
.smol-run :is(.smol-task,.smol-t,p,li){{unicode-bidi:plaintext;text-align:start}}
.smol-run code{{unicode-bidi:isolate}}
.jp-RenderedHTMLCommon:has(>.smol){{padding-right:0}}
.smol{{border:1px solid var(--smol-line);border-radius:6px;overflow:hidden;margin:2px 0}}
.smol-head{{display:flex;flex-wrap:wrap;gap:4px 8px;align-items:baseline;padding:9px 14px}}
.smol-task{{flex:1 1 14em;min-width:0;font-weight:600;white-space:pre-wrap}}
.smol-chip{{font-size:.85em;color:var(--smol-dim);border:1px solid var(--smol-line);border-radius:10px;padding:0 8px}}
.smol-chip.smol-ok{{color:var(--smol-ok);border-color:currentColor}}
.smol-chip.smol-bad{{color:var(--smol-bad);border-color:currentColor}}
.smol-chip.smol-warn{{color:var(--smol-warn);border-color:currentColor}}
.smol-run .smol-note{{margin:-5px 14px 9px;color:var(--smol-dim);font-size:.92em}}
.smol-run .smol-note.smol-mark{{color:var(--smol-bad);font-weight:600}}
.smol-step{{border-top:1px solid var(--smol-line);margin:0}}
.smol-step>summary{{display:flex;flex-wrap:wrap;gap:0 10px;align-items:baseline;cursor:pointer;
padding:8px 34px 8px 14px;list-style:none;margin:0;position:relative}}
.smol-step>summary::-webkit-details-marker{{display:none}}
.smol-run summary:focus-visible{{outline:2px solid var(--smol-now);outline-offset:-2px}}
.smol-n{{flex:none;min-width:21px;height:21px;padding:0 3px;border:1.5px solid var(--smol-line);border-radius:11px;
color:var(--smol-dim);font-size:11px;line-height:18px;text-align:center;font-variant-numeric:tabular-nums}}
.smol-bare{{display:none}}
.smol-step>summary::after{{content:"▸";content:"▸" / "";position:absolute;right:14px;top:8px;
color:var(--smol-dim);font-size:.85em;line-height:1.765;width:.9em}}
.smol-step[open]>summary::after{{content:"▾";content:"▾" / ""}}
.smol-alone>summary{{cursor:default}}
.smol-step.smol-alone>summary::after{{content:none}}
.smol-ok>summary .smol-n{{color:var(--smol-ok);border-color:currentColor}}
.smol-bad>summary .smol-n{{color:var(--smol-bad);border-color:currentColor;border-radius:4px}}
.smol-now>summary .smol-n{{color:var(--smol-now);border-color:currentColor;border-style:dashed}}
.smol-warn>summary .smol-n{{color:var(--smol-warn);border-color:currentColor;border-radius:4px;border-style:dashed}}
.smol-t{{flex:1 1 min(12em,100% - 3em);min-width:0;font-weight:500}}
.smol-t small{{font-size:.92em;font-weight:400;color:var(--smol-dim);margin-left:6px}}
.smol-m{{margin-left:auto;color:var(--smol-dim);font-size:.85em;white-space:nowrap;font-variant-numeric:tabular-nums}}
.smol-run .smol-body p{{margin:0 0 6px}}
.smol-run .smol-body code,.smol-run .smol-final code{{
font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace);
font-size:.93em;background:none!important;color:inherit;padding:0}}
{_CODE},{_OUT}{{margin:6px 0;
font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace);font-size:var(--jp-code-font-size,13px);
line-height:1.5;white-space:pre;overflow:auto;overflow-wrap:normal;max-height:32em;color:inherit;border:0}}
{_CODE}{{padding:8px 10px;background:var(--smol-soft);border-radius:4px}}
{_OUT}{{border-left-color:var(--smol-line)!important;background:none}}
{_OUT}.smol-stderr{{border-left-color:var(--smol-warn)!important}}
{_OUT}.smol-err{{border-left-color:var(--smol-bad)!important;color:var(--smol-bad);white-space:pre-wrap;word-break:normal;
overflow-wrap:anywhere}}
.smol-now .smol-body pre.smol-out{{display:flex;flex-direction:column-reverse}}
.smol-more{{margin:2px 0 6px 12px;font-size:.92em;color:var(--smol-dim)}}
.smol-more summary{{cursor:pointer}}
.smol-call{{margin:4px 0;font-size:.92em;color:var(--smol-dim)}}
.smol-run .smol-call code{{color:var(--jp-content-font-color1,var(--vscode-editor-foreground,currentColor))}}
.smol-img{{display:block;max-width:100%;height:auto;margin:8px 0;background:#fff}}
.smol-rich{{margin:6px 0;overflow-x:auto;overflow-wrap:normal}}
.smol-rich table{{border-collapse:collapse;border:0;margin:0;width:auto;font-size:.93em;color:inherit}}
.smol-rich th,.smol-rich td{{padding:3px 10px 3px 0;border:0;border-bottom:1px solid var(--smol-line);text-align:right;
background:none;font-variant-numeric:tabular-nums;white-space:nowrap;max-width:none}}
.smol-rich img{{max-width:100%}}
.smol-rich img:not([src]){{display:none}}
.smol-run .smol-words :is(th,td){{text-align:left;white-space:normal;vertical-align:top;line-height:1.5}}
.smol-words tr{{background:none!important}}
.smol-run :is(.smol-body,.smol-final) :is(ul,ol){{margin:0 0 6px;padding-left:2em}}
.smol-run :is(.smol-body,.smol-final) li :is(ul,ol){{margin:0}}
.smol-run :is(.smol-body,.smol-final) blockquote{{margin:0 0 6px;padding:0 0 0 10px;border:0;
border-left:2px solid var(--smol-line);color:var(--smol-dim)}}
.smol-run :is(.smol-body,.smol-final) hr{{margin:8px 0;border:0;border-top:1px solid var(--smol-line)}}
.smol-run :is(.smol-body,.smol-final) :is(.smol-h1,.smol-h2,.smol-h3):not(:first-child){{margin-top:10px}}
.smol-h1{{font-size:1.1em}}
.smol-final{{padding:11px 14px;background:var(--smol-soft);border-top:1px solid var(--smol-line)}}
.smol-run .smol-final p{{margin:0 0 4px;white-space:pre-line}}
.smol-lead{{font-weight:600}}
.smol-lead.smol-bad{{color:var(--smol-bad)}}
.smol-k{{color:var(--smol-k)}}.smol-s{{color:var(--smol-s)}}.smol-d{{color:var(--smol-d)}}
.smol-c{{color:var(--smol-c);font-style:normal}}
@media print{{.smol-run details::details-content{{content-visibility:visible;block-size:auto}}
{_CODE},{_OUT}{{max-height:none;overflow:visible;white-space:pre-wrap}}}}
</style>"""

MORE_STYLE = """<style>
.smol-between{border-top:1px solid var(--smol-line)}
.smol-run .smol-aside{margin:4px 0;font-size:.92em;color:var(--smol-dim)}
.smol-run .smol-aside.smol-trouble{color:var(--smol-warn)}
.smol-sub{margin:4px 0}
.smol-sub>summary{cursor:pointer;margin:0}
.smol-sub>summary b{font-weight:500;color:var(--jp-content-font-color1,var(--vscode-editor-foreground,currentColor))}
.smol-state.smol-ok{color:var(--smol-ok)}.smol-state.smol-bad{color:var(--smol-bad)}
.smol-state.smol-warn{color:var(--smol-warn)}.smol-state.smol-now{color:var(--smol-now)}
details.smol-task{font-weight:400}
.smol-task>summary{margin:0;cursor:pointer;list-style:none}
.smol-task>summary::-webkit-details-marker{display:none}
.smol-task>summary::after{content:" …\\a0▸";content:" …\\a0▸" / "";color:var(--smol-dim)}
.smol-task[open]>summary::after{content:" ▾";content:" ▾" / ""}
.smol-run .smol-task>summary:focus-visible{outline-offset:2px}
.smol-task strong{font-weight:600}
.smol-inner{margin:4px 0 8px;border-left:2px solid var(--smol-line)}
.smol-inner .smol-task{margin:0;padding:4px 14px 6px;font-weight:400;color:var(--smol-dim)}
@media (max-width:480px){.smol-inner .smol-body{padding-left:12px!important}}
.smol-inner .smol-final{background:none;padding:8px 14px}
</style>"""
"""For what most runs have not: a long task, plans, called agents, what happened beside the actions."""
