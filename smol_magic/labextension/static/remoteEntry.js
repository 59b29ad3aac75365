// The page's half of write-back (the kernel's half is smol_magic/writeback.py): puts the cells that an agent wrote
// below the cell that asked for them, keeps a run readable when its widgets are gone, and while it is drawn (its folds,
// its arrow keys, what is read aloud), tasks free of Python's colours, and the focus in the notebook.
// JupyterLab 4 and Notebook 7 load this file as it is; there is no build.
//
// It takes cells and ids from the kernel, nothing else: no code of the kernel runs here, and no cell is executed.
//
//   kernel → page   comm_open "smol.cells"   {session, cell_id, early: true}   when cell_id begins: is its page there?
//   page → kernel   {here: page, session}
//   kernel → page   comm_open "smol.cells"   {session, cell_id}   when it has ended
//   page → kernel   {claim: page, session, candidates: [{id, source, digest}]}   cells that an earlier run of cell_id left
//   kernel → page   {grant: page, cell_id, cells, remove: [id]}
//   page → kernel   {done: page, inserted, kept, locked, sent: [id], date, shown}   how many; removed cells that were
//                                                                                   sent to run before; whether cell_id
//                                                                                   shows the account
(() => {
  "use strict";

  const NAME = "smol-kernel";
  const TARGET = "smol.cells";
  const WIDGET = "application/vnd.jupyter.widget-view+json";
  const PLAIN = "text/plain";

  // Every tab that shows the notebook gets the comm, and each has a model of its own (unless they collaborate): the
  // one whose client sent the cell claims at once. The others wait, because after a reload it may be gone.
  const PATIENCE_MS = 700;

  const page = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;

  let scope = null;

  // JupyterLab's own module, as its share scope offers it: {name: {version: {get}}}.
  async function shared(name) {
    const [entry] = Object.values(scope[name]);
    return (await entry.get())();
  }

  function indexOf(notebook, id) {
    return notebook.cells.findIndex((cell) => cell.id === id);
  }

  // A cell that was moved, or cut and pasted, has its id still; a copy, which is the person's own, has another.
  function candidates(notebook, cellId) {
    return notebook.cells
      .map((cell) => ({ cell, mark: cell.getMetadata("smol") }))
      .filter(({ cell, mark }) => mark && mark.cell === cellId && mark.id === cell.id)
      .map(({ cell, mark }) => ({ id: cell.id, source: cell.getSource(), digest: String(mark.digest) }));
  }

  // Only what a new cell needs, so that nothing else of the message reaches the notebook.
  function plain({ cell_type, source, metadata }) {
    const cell = { source: String(source), metadata: { smol: { ...(metadata || {}).smol } } };
    return cell_type === "code"
      ? { ...cell, cell_type: "code", outputs: [], execution_count: null }
      : { ...cell, cell_type: "markdown" };
  }

  function sign(cell, { metadata }) {
    cell.setMetadata("smol", { ...metadata.smol, id: cell.id });
  }

  function showsAccount(cell) {
    const isAccount = ({ metadata: { smol } = {} }) => smol && smol.run && !smol.live;
    return cell.cell_type === "code" && cell.getOutputs().some(isAccount);
  }

  // "Run All Cells" has sent a cell that has not run yet: the kernel has it, whatever becomes of it here.
  function isSent(cell) {
    return cell.cell_type === "code" && cell.executionState === "running";
  }

  function isSame(cell, { cell_type, source }) {
    return cell.cell_type === cell_type && cell.getSource() === source;
  }

  // A cell as it stands, with its id, tags, outputs and locks; one that was sent to run, and shall not, anew.
  function asItIs(cell) {
    const { id, ...rest } = cell.toJSON();
    return isSent(cell) ? { ...rest, outputs: [], execution_count: null } : { id, ...rest };
  }

  function write(notebook, cellId, cells, remove, known) {
    const sources = new Map(known.map(({ id, source }) => [id, source]));
    // Not one in which the person has typed since the claim.
    const old = notebook.cells.filter((cell) => remove.includes(cell.id) && cell.getSource() === sources.get(cell.id));
    const fresh = cells.map(plain);
    const date = new Date().toISOString();
    const areBelow = old.length && indexOf(notebook, old[0].id) > indexOf(notebook, cellId);
    if (areBelow && old.length === fresh.length && old.every((cell, index) => isSame(cell, fresh[index]))) {
      notebook.transact(() => old.forEach((cell, index) => sign(cell, fresh[index])));
      return { inserted: 0, kept: old.length, locked: 0, sent: [], date };
    }
    const left = new Set(old);
    const again = fresh.map((each) => {
      const twin = [...left].find((cell) => isSame(cell, each));
      left.delete(twin);
      return twin;
    });
    const locked = [...left].filter((cell) => cell.getMetadata("deletable") === false);
    const gone = old.filter((cell) => !locked.includes(cell));
    const sent = gone.filter(isSent).map((cell) => cell.id);
    const kept = again.filter(Boolean).length;
    const made = fresh.map((each, index) => (again[index] ? asItIs(again[index]) : each));
    let inserted = 0;
    // One transaction is one step for the notebook's "undo cell operation".
    notebook.transact(() => {
      // From the end, because `notebook.cells` stays as it was until the transaction is over.
      for (let index = notebook.cells.length - 1; index >= 0; index--) {
        const cell = notebook.cells[index];
        if (gone.includes(cell)) notebook.deleteCell(index);
        if (cell.id === cellId) {
          notebook.insertCells(index + 1, made).forEach((each, offset) => sign(each, fresh[offset]));
          inserted = made.length - kept;
        }
      }
    });
    return { inserted, kept, locked: locked.length, sent, date };
  }

  function kernelOf(panel) {
    const session = panel.sessionContext.session;
    return session && session.kernel;
  }

  // Of all connections to a kernel in one window, those of consoles as well, the first alone hears of comms: `kernel`
  // may be any of them.
  function answer(tracker, kernel, comm, { session, cell_id, early }) {
    // A notebook may have several views, any of them closed by now: all have the one kernel connection, and one model.
    const has = (panel) =>
      kernelOf(panel)?.id === kernel.id && panel.content.model && indexOf(panel.content.model.sharedModel, cell_id) >= 0;
    // Copies of a notebook have cells of the same ids.
    const panel = tracker.find((each) => has(each) && kernelOf(each).clientId === session) || tracker.find(has);
    if (!panel) return; // another notebook's cell
    const { clientId } = kernelOf(panel);
    if (early) {
      if (clientId === session) comm.send({ here: page, session });
      return;
    }
    const notebook = panel.content.model.sharedModel;
    let known = [];
    comm.onMsg = (message) => {
      const { grant, cells, remove } = message.content.data;
      if (grant !== page || comm.isDisposed) return;
      const done = write(notebook, cell_id, cells || [], remove || [], known);
      const cell = notebook.cells[indexOf(notebook, cell_id)];
      comm.send({ done: page, ...done, shown: Boolean(cell) && showsAccount(cell) });
    };
    const claim = () => {
      if (comm.isDisposed) return; // another tab did it
      known = candidates(notebook, cell_id);
      comm.send({ claim: page, session: clientId, candidates: known });
    };
    if (clientId === session) claim();
    else setTimeout(claim, PATIENCE_MS);
  }

  // Where nothing stands behind a dead view, the run was cut off, or ended while no page was there to take its account.
  function unseen(run) {
    const command = (words) => `<code>%agent ${words}</code>`;
    const how = /^[\w-]{1,64}$/.test(run || "") // what may stand in HTML as it is
      ? `its account: ${command(`show ${run}`)} · to go on: ${command(`resume ${run}`)}`
      : `${command("runs")} lists it`;
    return `<small>Agent run, its end not seen here · ${how}</small>`;
  }

  function viewOf({ data, metadata }) {
    return data && metadata && metadata.smol && metadata.smol.live ? (data[WIDGET] || {}).model_id : undefined;
  }

  function withoutWidget(output, dead, isLast) {
    if (!dead.has(viewOf(output))) return output;
    const { [WIDGET]: _, ...data } = output.data;
    return { ...output, data: isLast ? { ...data, "text/html": unseen(output.metadata.smol.run) } : data };
  }

  function outputsOf(cell) {
    return cell.cell_type === "code" ? cell.getOutputs() : [];
  }

  // Where the kernel that ran it is gone, JupyterLab shows "Error displaying widget" or a broken link in place of a
  // view, although the output has HTML for this case. So the dead widget is taken out of it.
  function retireViews(panel, alive) {
    const model = panel.content.model;
    if (!model) return;
    const views = model.sharedModel.cells.flatMap(outputsOf).map(viewOf);
    const dead = new Set(views.filter((view) => view !== undefined && !(view in alive)));
    const retire = () => {
      if (panel.isDisposed || panel.content.model !== model) return;
      const dirty = model.dirty;
      for (const cell of model.sharedModel.cells) {
        const outputs = outputsOf(cell);
        const kept = outputs.map((output, index) => withoutWidget(output, dead, index === outputs.length - 1));
        if (kept.some((output, index) => output !== outputs[index])) cell.setOutputs(kept);
      }
      model.dirty = dirty; // nothing of the person's has changed
    };
    // Pages that collaborate have one model: what two of them put in at once would be there twice.
    const { awareness } = model.sharedModel;
    const before = awareness ? [...awareness.getStates().keys()].filter((id) => id < awareness.clientID).length : 0;
    if (dead.size && before) setTimeout(retire, before * PATIENCE_MS);
    else retire();
  }

  async function retireDeadViews(panel) {
    await panel.context.ready;
    await panel.sessionContext.ready;
    const kernel = kernelOf(panel);
    const reply = kernel && (await kernel.requestCommInfo({ target_name: "jupyter.widget" }));
    if (!reply || reply.content.status === "ok") retireViews(panel, reply ? reply.content.comms : {});
  }

  // As the kernels tell them: `%%agent`, and in the Agent kernel all that is not in IPython's signs.
  const TASK = /^(?:[ \t]*(?:#.*)?\n)*[ \t]*%%agent(?!\S)/;
  const CODE = /^\s*(?:$|[%!?])|^(?:[ \t]*(?:#.*)?\n)*%%/;

  // A task is in a person's language, which reads badly in the colours of Python's keywords.
  function colourTasks(panel, languages) {
    const model = panel.content.model;
    let ofAgentKernel = false;
    const plain = new WeakSet(); // the cells whose colours were taken here
    const isTask = (cell) => {
      const source = cell.sharedModel.getSource();
      return TASK.test(source) || (ofAgentKernel && !CODE.test(source));
    };
    const colour = async (cell) => {
      if (!isTask(cell)) {
        if (plain.delete(cell) && cell.mimeType === PLAIN) cell.mimeType = panel.content.codeMimetype;
      } else if (cell.mimeType !== PLAIN) {
        // An editor takes a language when it is loaded, even if it was given another one meanwhile.
        await languages.getLanguage(cell.mimeType);
        await new Promise((resolve) => setTimeout(resolve));
        if (!isTask(cell)) return;
        plain.add(cell);
        cell.mimeType = PLAIN;
      }
    };
    const known = new WeakSet();
    const colourAll = () => {
      for (const cell of model.cells) {
        if (cell.type !== "code") continue;
        if (!known.has(cell)) {
          known.add(cell);
          cell.contentChanged.connect(colour);
          cell.mimeTypeChanged.connect(colour); // the notebook sets it once it knows the kernel's language
        }
        colour(cell);
      }
    };
    const ask = async () => {
      const kernel = kernelOf(panel);
      ofAgentKernel = Boolean(kernel) && (await kernel.info).implementation === NAME;
      colourAll();
    };
    model.cells.changed.connect(colourAll);
    panel.sessionContext.kernelChanged.connect(ask);
    ask();
  }

  const CARD = ".smol-view .widget-html-content";

  // The folds of a card, each with its place: within the fold that it is in, the how-manieth of its kind.
  function foldsOf(card) {
    const places = new Map();
    const counts = {};
    for (const fold of card.querySelectorAll("details")) {
      const kind = `${places.get(fold.parentElement.closest("details"))} ${/smol-(?:step|sub|more)/.exec(fold.className)}`;
      counts[kind] = (counts[kind] || 0) + 1;
      places.set(fold, `${kind} ${counts[kind]}`);
    }
    return places;
  }

  // A card at work is drawn anew with all that it folds: what a person opened or closed in it stays so.
  function keepFolds(panel) {
    const chosen = new WeakMap(); // of a card: place → open
    panel.node.addEventListener("click", ({ target }) => {
      const fold = target.closest("summary")?.parentElement;
      const card = fold?.closest(CARD);
      if (!card) return;
      if (!chosen.has(card)) {
        chosen.set(card, new Map());
        new MutationObserver(() => {
          for (const [each, place] of foldsOf(card)) each.open = chosen.get(card).get(place) ?? each.open;
        }).observe(card, { childList: true });
      }
      chosen.get(card).set(foldsOf(card).get(fold), !fold.open);
    });
  }

  // When a view folds, what had the focus may go with it; then the page has it, where no key of the notebook works.
  // In a card that is drawn anew the same fold gets it again.
  function keepFocus(panel) {
    let observer = null;
    panel.node.addEventListener("focusin", ({ target }) => {
      if (observer) observer.disconnect();
      const view = target.closest(".smol-view");
      if (!view) return;
      const card = target.matches("summary") && target.closest(CARD);
      const place = card && foldsOf(card).get(target.parentElement);
      const own = (observer = new MutationObserver(() => {
        const again = card && !target.isConnected && [...foldsOf(card)].find((each) => each[1] === place);
        if (again && document.activeElement === document.body) {
          const line = again[0].querySelector("summary");
          line.focus({ preventScroll: true });
          if (document.activeElement === line) return; // else the card is no longer shown
        }
        requestAnimationFrame(() => {
          if (observer !== own || target.getClientRects().length) return; // what was drawn meanwhile has it
          own.disconnect();
          target.blur(); // it may still count as the one that has it
          if (document.activeElement === document.body) panel.content.activate();
        });
      }));
      own.observe(view, { attributes: true, childList: true, subtree: true });
    });
  }

  // What a view tells out of sight is read aloud only if it stood there, empty, as a region of the page before.
  function readAloud(panel) {
    panel.node.addEventListener("animationstart", ({ target, animationName }) => {
      if (animationName === "smol-view-told") target.setAttribute("role", "status");
    });
  }

  // Arrows scroll what has the focus; to the notebook they would mean another cell.
  function leaveArrows(event) {
    const plain = !(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey);
    if (plain && event.key.startsWith("Arrow") && event.target.matches?.(".smol-run :is(pre, .smol-rich)"))
      event.stopPropagation();
  }

  // A connection that does not know the target closes the comm for all.
  function hear(tracker, panel) {
    const register = () => {
      const kernel = kernelOf(panel);
      if (!kernel) return;
      kernel.registerCommTarget(TARGET, (comm, open) => answer(tracker, kernel, comm, open.content.data));
    };
    panel.sessionContext.kernelChanged.connect(register);
    panel.sessionContext.ready.then(register);
  }

  function listen(tracker, languages, panel) {
    const context = panel.sessionContext;
    hear(tracker, panel);
    const retire = () => retireDeadViews(panel).catch((error) => console.warn(`${NAME}: ${error}`));
    context.kernelChanged.connect(retire);
    context.statusChanged.connect((_, status) => {
      if (status.endsWith("restarting")) retireViews(panel, {}); // also "autorestarting": none survives
    });
    panel.context.ready.then(() => colourTasks(panel, languages));
    keepFolds(panel);
    keepFocus(panel);
    readAloud(panel);
    retire();
  }

  async function extension() {
    const { INotebookTracker } = await shared("@jupyterlab/notebook");
    const { IConsoleTracker } = await shared("@jupyterlab/console");
    const { IEditorLanguageRegistry } = await shared("@jupyterlab/codemirror");
    return {
      id: `${NAME}:cells`,
      description: "Inserts the cells that an agent wrote, leaves tasks uncoloured, and the focus in the notebook.",
      autoStart: true,
      requires: [IEditorLanguageRegistry],
      optional: [INotebookTracker, IConsoleTracker], // Notebook 7's file list has none
      activate: (app, languages, tracker, consoles) => {
        if (!tracker) return;
        window.addEventListener("keydown", leaveArrows, true); // before JupyterLab, which listens at the document
        tracker.forEach((panel) => listen(tracker, languages, panel));
        tracker.widgetAdded.connect((_, panel) => listen(tracker, languages, panel));
        if (!consoles) return;
        consoles.forEach((panel) => hear(tracker, panel));
        consoles.widgetAdded.connect((_, panel) => hear(tracker, panel));
      },
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init(shareScope) {
      scope = shareScope;
    },
    async get() {
      const plugin = await extension();
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
