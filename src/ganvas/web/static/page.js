// What has to happen in the browser: the newest place of a slider wins, and a picture is painted before the next is asked for.
window.ganvas = {
  waiting: null, inFlight: false, pending: 0, movedAt: 0, paintedAt: 0, times: [], painted: 0, readyAt: 0, wholeAt: 0,

  drag(emit, value) {
    this.movedAt = performance.now();
    this.waiting = { emit, value, at: this.movedAt };
    this.pump();
  },
  release(emit, value) {
    this.waiting = null;
    this.pending += 1;
    emit(value);
  },
  done() { this.pending -= 1; },
  pump() {
    if (this.inFlight || !this.waiting) return;
    const { emit, value, at } = this.waiting;
    this.waiting = null;
    this.inFlight = true;
    this.askedAt = at;
    emit(value);
    clearTimeout(this.patience);
    this.patience = setTimeout(() => this.next(), 2000);  // an answer that never comes must not stop the slider
  },
  next() {
    clearTimeout(this.patience);
    this.inFlight = false;
    this.pump();
  },
  place(name) { return document.querySelector(`[data-id="${name}"]`); },
  show(url, coarse) {  // coarse: smaller than it is shown, the whole picture comes later
    const image = this.place("canvas");
    if (!image) return;
    image.classList.toggle("coarse", coarse);
    this.place("failure").hidden = true;
    image.src = url;
    const askedAt = this.inFlight ? this.askedAt : null;
    image.decode().catch(() => {}).then(() => requestAnimationFrame(() => {
      this.painted += 1;
      this.next();
      // The frame after the next one begins when this picture is on the screen.
      requestAnimationFrame(() => {
        this.paintedAt = performance.now();
        if (!coarse) this.wholeAt = this.paintedAt;
        if (askedAt !== null) this.times.push(this.paintedAt - askedAt);
      });
    }));
  },
  fail(words) {
    const place = this.place("failure");
    place.textContent = words;
    place.hidden = false;
    this.next();
  },
  label(bar) {
    const shown = bar.closest("[data-row]")?.querySelector("[data-value]");
    if (shown) shown.textContent = Number(bar.value).toFixed(bar.step < 0.1 ? 2 : 1);
  },
  set(id, value, tries = 40) {  // the slider may not be there yet
    const bar = document.getElementById(id);
    if (bar) { bar.value = value; this.label(bar); }
    else if (tries) setTimeout(() => this.set(id, value, tries - 1), 50);
  },
  address(text) {
    const url = new URL(location.href);
    url.searchParams.set("r", text);
    if (self === top) url.searchParams.delete("token");  // a frame is sent no cookie, and may be loaded again
    history.replaceState(null, "", url);
  },
  busy(words) {
    const place = this.place("busy");
    if (place) place.textContent = words;
    document.body.classList.toggle("is-busy", Boolean(words));
  },
  ready() {
    this.readyAt = performance.now();
    document.body.dataset.ready = "yes";
  },
  async copy(text, kind) {
    const url = new URL("/", location.href);
    url.searchParams.set("r", text);
    const token = new URL(location.href).searchParams.get("token");
    if (token) url.searchParams.set("token", token);  // of a frame in a notebook
    const copied = kind === "address" ? url.href : text;
    try {
      await navigator.clipboard.writeText(copied);  // none on a page that another machine has opened by http
    } catch {
      const area = document.createElement("textarea");  // a prompt cuts it, and has one line
      area.value = copied;
      document.body.append(area);
      area.select();
      if (!document.execCommand("copy")) window.prompt("Copy this:", copied);
      area.remove();
    }
  },
};
