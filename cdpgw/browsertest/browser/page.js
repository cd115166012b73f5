// Runs in the page. The frontend is built of open shadow roots; these look through them.
(() => {
  const every = (match, root = document, found = []) => {
    for (const e of root.querySelectorAll('*')) {
      if (match(e)) {
        found.push(e);
      }
      if (e.shadowRoot) {
        every(match, e.shadowRoot, found);
      }
    }
    return found;
  };
  const text = node => {
    let out = '';
    const walk = n => {
      for (const c of n.childNodes) {
        if (c.nodeType === Node.TEXT_NODE) {
          out += c.data + ' ';
        } else if (c.nodeType === Node.ELEMENT_NODE && c.tagName !== 'STYLE' && c.tagName !== 'SCRIPT') {
          if (c.shadowRoot) {
            walk(c.shadowRoot);
          }
          walk(c);
        }
      }
    };
    if (node.shadowRoot) {
      walk(node.shadowRoot);
    }
    walk(node);
    return out.replace(/\s+/g, ' ').trim();
  };
  const rowElements = () => every(e => e.tagName === 'TR' && e.classList.contains('data-grid-data-grid-node') && e.querySelector('td.name-column'));
  const cells = row => Object.fromEntries([...row.querySelectorAll('td')].map(td => [[...td.classList].find(c => c.endsWith('-column'))?.replace('-column', ''), text(td)]).filter(([k]) => k));
  const press = e => {
    const r = e.getBoundingClientRect();
    const at = {bubbles: true, composed: true, cancelable: true, button: 0, buttons: 1, clientX: r.x + 5, clientY: r.y + r.height / 2, view: window};
    for (const kind of ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click']) {
      e.dispatchEvent(new (kind.startsWith('pointer') ? PointerEvent : MouseEvent)(kind, at));
    }
  };
  const view = () => every(e => e.classList.contains('network-item-view'))[0];
  globalThis.clipperTest = {
    every, text,
    rows: () => rowElements().map(cells),
    // open selects the row whose name contains a text.
    open: name => {
      const row = rowElements().find(r => text(r.querySelector('td.name-column')).includes(name));
      if (!row) {
        return false;
      }
      row.scrollIntoView?.({block: 'center'});
      press(row.querySelector('td.name-column'));
      return true;
    },
    tabs: () => view() ? every(e => e.classList.contains('tabbed-pane-header-tab'), view().shadowRoot ?? view()).map(text) : [],
    tab: name => {
      const tab = view() && every(e => e.classList.contains('tabbed-pane-header-tab'), view().shadowRoot ?? view()).find(e => text(e) === name);
      if (!tab) {
        return false;
      }
      press(tab);
      return true;
    },
    view: () => view() ? text(view()) : '',
    // follow clicks the first link in the item view whose text contains a text.
    follow: name => {
      const link = view() && every(e => (e.tagName === 'BUTTON' || e.tagName === 'A' || e.classList.contains('devtools-link')) && text(e).includes(name), view())[0];
      if (!link) {
        return false;
      }
      press(link);
      return true;
    },
    // button presses the button with a label.
    button: label => {
      const found = every(e => (e.getAttribute('aria-label') ?? e.getAttribute('title') ?? '').startsWith(label) && e.getBoundingClientRect().width > 0)[0];
      if (!found) {
        return false;
      }
      press(found.shadowRoot?.querySelector('button') ?? found);
      return true;
    },
    // choose selects the option with a text in a list whose options include it.
    choose: option => {
      for (const list of every(e => e.tagName === 'SELECT' && e.getBoundingClientRect().width > 0)) {
        const found = [...list.options].find(o => text(o) === option);
        if (found) {
          list.value = found.value;
          list.selectedIndex = found.index;
          list.dispatchEvent(new Event('change', {bubbles: true, composed: true}));
          return true;
        }
      }
      return false;
    },
    // place is the middle of the row whose name contains a text, or of the item of
    // an open menu that begins with it; null if it is not there.
    place: (kind, name) => {
      const e = kind === 'row' ? rowElements().find(r => text(r.querySelector('td.name-column')).includes(name))?.querySelector('td.name-column') :
        every(e => e.classList.contains('soft-context-menu-item') && text(e).startsWith(name)).pop();
      const r = e?.getBoundingClientRect();
      return r && r.width > 0 ? [r.x + r.width / 2, r.y + r.height / 2] : null;
    },
    menuItems: () => every(e => e.classList.contains('soft-context-menu-item')).map(text),
    // type enters a text into a field, with the Enter key.
    type: (selector, value) => {
      const field = every(e => e.matches(selector) && e.getBoundingClientRect().width > 0)[0];
      if (!field) {
        return false;
      }
      field.focus();
      field.value = value;
      field.dispatchEvent(new InputEvent('input', {bubbles: true, composed: true}));
      field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', code: 'Enter', keyCode: 13, bubbles: true, composed: true}));
      return true;
    },
    // filter sets the filter of the list.
    filter: value => {
      const field = every(e => e.classList.contains('text-prompt') && e.isContentEditable && e.getBoundingClientRect().width > 0)[0];
      if (!field) {
        return false;
      }
      field.focus();
      document.execCommand('selectAll');
      return document.execCommand(value ? 'insertText' : 'delete', false, value);
    },
    // color is the red, green and blue of a row's text.
    color: name => {
      const row = rowElements().find(r => text(r.querySelector('td.name-column')).includes(name));
      return row ? getComputedStyle(row.querySelector('td.name-column')).color.match(/[\d.]+/g).slice(0, 3).map(Number) : null;
    },
    mainTabs: () => every(e => e.classList.contains('tabbed-pane-header-tab')).map(text),
    body: () => document.body ? text(document.body) : '',
    // summary is the line below the list.
    summary: () => every(e => e.classList.contains('network-summary-bar')).map(text).join(' '),
  };
  return 'ready';
})()
