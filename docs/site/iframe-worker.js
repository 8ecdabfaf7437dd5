/* Pages that are opened from disk may start no worker. There a hidden frame stands in for one, so that search works. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      this.frame = frame;
      window.addEventListener("message", (event) => {
        if (event.source !== frame.contentWindow) return;
        const copy = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(copy);
        if (this.onmessage) this.onmessage(copy);
      });
      const inner = frame.contentWindow.document;
      inner.open();
      inner.write("<!doctype html><script>postMessage = data => parent.postMessage(data, '*')</script>");
      inner.close();
      this.ready = new Promise((resolve, reject) => {
        const script = inner.createElement("script");
        script.src = url;
        script.onload = resolve;
        script.onerror = reject;
        inner.head.appendChild(script);
      });
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
