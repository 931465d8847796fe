'use strict';
// Order and filter the gallery, and enlarge pictures. Without this script the page shows everything in one order.
(() => {
  const STEP = 24;
  const box = document.getElementById('groups');
  const dialog = document.getElementById('large');
  const stage = document.getElementById('stage');

  if (box) {
    const groups = [...box.children];
    const controls = document.getElementById('controls');
    const more = document.getElementById('more');
    let limit = STEP;

    const matches = (group, name) => {
      const select = controls.elements[name];
      return !select || !select.value || group.dataset[name].split(' ').includes(select.value);
    };
    const update = () => {
      const order = controls.elements.order.value;
      groups.sort((a, b) => a.dataset[order] - b.dataset[order] || a.dataset.first - b.dataset.first);
      const found = groups.filter((group) => matches(group, 'source') && matches(group, 'label'));
      const seen = new Set(found);
      for (const group of groups) group.hidden = !seen.has(group);
      found.forEach((group, place) => group.classList.toggle('later', place >= limit));
      box.append(...groups);
      document.getElementById('found').value = `${found.length} groups, ${Math.min(limit, found.length)} on screen`;
      more.hidden = found.length <= limit;
    };
    controls.addEventListener('change', () => { limit = STEP; update(); });
    controls.addEventListener('submit', (event) => event.preventDefault());
    more.addEventListener('click', () => { limit += STEP; update(); });
    controls.reset();
    update();
  }

  const copy = (figure) => {
    const shown = document.createElement('figure');
    shown.className = figure.className;
    const picture = figure.querySelector('img');
    if (picture) shown.append(picture.cloneNode());
    shown.append(figure.querySelector('figcaption').cloneNode(true));
    const name = shown.querySelector('[title]');
    if (name) name.textContent = name.title;
    return shown;
  };
  document.addEventListener('click', (event) => {
    const button = event.target.closest('.look');
    if (!button) return;
    const figure = button.closest('figure');
    const around = figure.closest('.group, .pair');
    const beside = around ? [...around.querySelectorAll('.kept, .conflict')] : [];
    const wanted = beside.includes(figure) ? beside : [...beside, figure];
    stage.replaceChildren(...wanted.map(copy));
    dialog.showModal();
  });
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
})();
