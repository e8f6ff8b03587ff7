"use strict";
(() => {
  const view = document.getElementById("view");
  const sheet = document.getElementById("sheet");
  const width = sheet.offsetWidth;
  const height = sheet.offsetHeight;
  const fingers = new Map();
  let scale = 1, x = 0, y = 0, apart = 0;

  document.body.classList.add("live");

  function show() {
    const right = view.clientWidth, down = view.clientHeight, edge = 60;
    x = Math.min(right - edge, Math.max(edge - width * scale, x));
    y = Math.min(down - edge, Math.max(edge - height * scale, y));
    sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  }
  function zoom(factor, atX = view.clientWidth / 2, atY = view.clientHeight / 2) {
    const next = Math.min(4, Math.max(0.05, scale * factor));
    x = atX - (atX - x) * next / scale;
    y = atY - (atY - y) * next / scale;
    scale = next;
    show();
  }
  function whole() {
    return Math.min(view.clientWidth / width, view.clientHeight / height, 1);
  }
  function all() {
    scale = whole();
    x = (view.clientWidth - width * scale) / 2;
    y = (view.clientHeight - height * scale) / 2;
    show();
  }
  function centre(element, beside = 0.5) {
    const box = element.getBoundingClientRect(), port = view.getBoundingClientRect();
    x += port.left + port.width * beside - box.left - box.width * beside;
    y += port.top + port.height / 2 - box.top - box.height / 2;
    show();
  }
  function start() {
    scale = 1;
    x = y = 0;
    show();
    const first = document.getElementById("flow0-block0");
    if (first && height > view.clientHeight) centre(first, 0);
    x = Math.min(x + 12, 12);
    show();
  }
  function place(event) {
    const port = view.getBoundingClientRect();
    return [event.clientX - port.left, event.clientY - port.top];
  }

  view.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...place(event));
  }, { passive: false });
  view.addEventListener("pointerdown", (event) => {
    view.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    apart = 0;
    view.classList.add("moving");
  });
  view.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    fingers.set(event.pointerId, now);
    if (fingers.size === 1) {
      x += now[0] - before[0];
      y += now[1] - before[1];
      show();
    } else {
      const [[ax, ay], [bx, by]] = [...fingers.values()];
      const distance = Math.hypot(ax - bx, ay - by);
      if (apart) zoom(distance / apart, (ax + bx) / 2, (ay + by) / 2);
      apart = distance;
    }
  });
  for (const over of ["pointerup", "pointercancel"]) {
    view.addEventListener(over, (event) => {
      fingers.delete(event.pointerId);
      apart = 0;
      if (!fingers.size) view.classList.remove("moving");
    });
  }
  const keys = {
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), "0": all, "1": start,
    ArrowLeft: () => { x += 60; show(); }, ArrowRight: () => { x -= 60; show(); },
    ArrowUp: () => { y += 60; show(); }, ArrowDown: () => { y -= 60; show(); },
  };
  view.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
  document.getElementById("closer").addEventListener("click", () => zoom(1.25));
  document.getElementById("farther").addEventListener("click", () => zoom(0.8));
  document.getElementById("all").addEventListener("click", all);
  document.getElementById("start").addEventListener("click", start);
  for (const item of document.querySelectorAll("[data-at]")) {
    const go = () => {
      const element = document.getElementById(item.dataset.at);
      if (scale < 0.7) zoom(1 / scale);
      centre(element);
      for (const shown of document.querySelectorAll(".shown")) shown.classList.remove("shown");
      element.parentNode.classList.add("shown");
    };
    item.addEventListener("click", go);
    item.addEventListener("keydown", (event) => { if (event.key === "Enter") go(); });
  }
  window.addEventListener("resize", show);
  if (whole() >= 0.6) all(); else start();
})();
