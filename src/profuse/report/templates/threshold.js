"use strict";
for (const box of document.querySelectorAll("[data-steps]")) {
  const steps = JSON.parse(box.dataset.steps), slider = box.querySelector("input");
  const show = (k) => {
    const step = steps[k], texts = step.texts;
    for (const spot of box.querySelectorAll("[data-is]")) spot.textContent = texts[spot.dataset.is];
    for (const dot of box.querySelectorAll("[data-dot]")) {
      const at = step[dot.dataset.dot];
      dot.hidden = !at;
      if (at) { dot.style.left = at[0] + "%"; dot.style.bottom = at[1] + "%"; }
    }
    slider.value = k;
    slider.setAttribute("aria-valuetext", `${texts.threshold}: sensitivity ${texts.sensitivity}, specificity ${texts.specificity}, precision ${texts.precision}`);
  };
  const nearest = (area, event) => {
    const frame = area.getBoundingClientRect(), distance = (at) => at
      ? Math.hypot(frame.left + at[0] * frame.width / 100 - event.clientX, frame.bottom - at[1] * frame.height / 100 - event.clientY)
      : Infinity;
    return steps.reduce((best, step, k) => distance(step[area.dataset.plot]) < distance(steps[best][area.dataset.plot]) ? k : best, 0);
  };
  for (const area of box.querySelectorAll("[data-plot]")) {
    area.dataset.live = "";
    area.addEventListener("pointerdown", (event) => { show(nearest(area, event)); area.setPointerCapture(event.pointerId); });
    area.addEventListener("pointermove", (event) => { if (area.hasPointerCapture(event.pointerId)) show(nearest(area, event)); });
  }
  slider.addEventListener("input", () => show(Number(slider.value)));
  box.querySelector(".chooser").hidden = false;
  show(Number(box.dataset.first));
}
