// Every text that can be seen, with its colour and the colour behind it.
const found = [];
const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const back = channels(getComputedStyle(at).backgroundColor);
    if (back.length === 3 || back[3] === 1) return back.slice(0, 3);
  }
  return [255, 255, 255];
};
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  if (!own || !element.checkVisibility() || element.closest("title, script, style")) continue;
  const style = getComputedStyle(element);
  const ink = element.closest("svg") ? style.fill : style.color;
  found.push([element.textContent.trim().slice(0, 40), channels(ink), behind(element)]);
}
return found;
