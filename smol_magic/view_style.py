"""The style sheet of the live view, beside that of a run (`smol_kernel.render.style`). Used by `view`."""

from __future__ import annotations

from smol_kernel.render.style import MORE_STYLE, STYLE

VIEW_STYLE = (
    STYLE
    + MORE_STYLE
    + """<style>
.smol-view .widget-html, .smol-view .widget-html-content { margin: 0; width: 100%; min-width: 0; height: auto;
  font-size: inherit; line-height: inherit; overflow: hidden; }
.smol-view, .smol-view .widget-box { overflow: hidden; }
.smol-view.smol-view-folded { border-color: transparent; border-radius: 0; }
.smol-view-folded .smol-head { padding: 3px 0; align-items: center; }
.smol-view-head { align-items: center; padding-right: 14px; }
.smol-view-head > .widget-html { flex: 1; }
.smol-view:not(.smol-view-folded) > .smol-view-head { padding-top: 4px; }
.smol-view:not(.smol-view-folded) .smol-head { padding-block: 5px; }
.smol-view .smol-task { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.smol-view button.smol-view-stop { flex: none; width: auto; height: auto; margin: 0; padding: 2px 12px; font: inherit;
  font-size: .92em; color: inherit; background: var(--smol-soft); border: 1px solid var(--smol-line);
  border-radius: 4px; }
.smol-view button.smol-view-stop:hover { box-shadow: none; border-color: var(--smol-dim); }
.smol-view button.smol-view-stop:focus-visible { outline: 2px solid var(--smol-now); }
.smol-view-bar { height: 2px; background: var(--smol-line); overflow: hidden; }
.smol-view-bar i { display: block; width: 25%; height: 2px; background: var(--smol-now);
  animation: smol-view-go 1.6s ease-in-out infinite alternate; }
@keyframes smol-view-go { to { transform: translateX(300%) } } /* of its own width; lays nothing out anew */
@media (prefers-reduced-motion: reduce) { .smol-view-bar i { animation: none; width: 100%; } }
.smol-view .widget-html:has(> .widget-html-content > .smol-step:not([open])) + .widget-html,
.smol-view .widget-html:has(> .widget-html-content > .smol-step:not([open])) + .widget-html + .widget-html {
  display: none; }
.smol-view .smol-body > pre.smol-code:last-child { margin-bottom: 0; }
.smol-view .widget-html.smol-view-told { position: absolute; width: 1px; height: 1px; clip-path: inset(50%);
  white-space: nowrap; animation: smol-view-told 1ms; }
@keyframes smol-view-told { to { opacity: 1 } }
@media (forced-colors: active) { .smol-view-bar i { background: Highlight; forced-color-adjust: none; } }
.smol-view-now { gap: 0 12px; flex-wrap: wrap; padding: 0 14px 8px; color: var(--smol-dim); font-size: .92em;
  font-variant-numeric: tabular-nums; }
.smol-view .smol-view-now > .widget-html { width: auto; color: inherit; }
.smol-view .smol-view-now > :first-child { flex: 1 1 auto; }
.smol-view-now b { font-weight: 500; color: var(--jp-content-font-color1, currentColor); }
</style>"""
)
"""All that a view needs."""
