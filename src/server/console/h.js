// Elements from plain data, and how what is shown becomes what is drawn anew without losing focus, selection or scroll.
// Text only ever becomes a text node: what a stranger wrote cannot become markup.

const SVG = 'http://www.w3.org/2000/svg';
const DRAWN = new Set(['svg', 'path', 'g', 'line', 'rect', 'circle', 'polyline', 'text']);

/**
 * An element: `h('p.note', {id: 'a'}, 'text', child, [more])`. `on...` are handlers, `value`, `checked` and `indeterminate` are properties,
 * `true` is a bare attribute, and what is `null` or `false` is left out.
 * name: the tag, with classes after dots
 * parts: attributes (first, optional) and children
 */
export function h(name, ...parts) {
	const [tag, ...classes] = name.split('.');
	const element = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
	if (classes.length) element.setAttribute('class', classes.join(' '));
	if (isPlain(parts[0])) assign(element, parts.shift());
	add(element, parts);
	return element;
}

function isPlain(value) {
	return value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Node);
}

function assign(element, attributes) {
	for (const [name, value] of Object.entries(attributes)) {
		if (value === null || value === undefined || value === false) continue;
		if (name.startsWith('on')) element[name] = value;
		else if (name === 'checked' || name === 'indeterminate') element[name] = value;
		else if (name === 'value' && element.tagName !== 'OPTION') {
			element.given = value;
			element.value = value;
		} else if (name === 'class') element.setAttribute('class', `${element.getAttribute('class') ?? ''} ${value}`.trim());
		else if (name === 'href' && !/^(#|\/(?!\/))/.test(value)) throw new Error('links lead to this server only');
		else element.setAttribute(name, value === true ? '' : value);
	}
}

function add(element, children) {
	for (const child of children) {
		if (Array.isArray(child)) add(element, child);
		else if (child instanceof Node) element.append(child);
		else if (child !== null && child !== undefined && child !== false) element.append(String(child));
	}
}

const HANDLERS = ['onclick', 'oninput', 'onchange', 'onsubmit', 'onkeydown', 'ontoggle'];

/** What people open and shut themselves stays as they left it. */
const isTheirs = (element, name) => name === 'open' && element.nodeName === 'DETAILS';

/** A part that lives on as it is, wherever the page is drawn anew. It has a `data-key`. */
export function keep(node) {
	const slot = h('i', {'data-key': node.getAttribute('data-key')});
	slot.kept = node;
	return slot;
}

/**
 * Makes the children of `shown` what `fresh` are. Nodes that stay the same stay themselves; those with a `data-key` are told by it.
 * fresh: an element that is given up, or a list of children
 */
export function patch(shown, fresh) {
	const wanted = Array.isArray(fresh) ? h('div', fresh) : fresh;
	const keyed = new Map();
	for (const child of shown.children) if (keyOf(child)) keyed.set(keyOf(child), child);
	let at = shown.firstChild;
	for (const next of [...wanted.childNodes]) {
		const key = keyOf(next);
		if (next.kept) {
			while (next.kept.parentNode === shown && at && at !== next.kept) at = dropped(at);
			if (at === next.kept) at = at.nextSibling;
			else shown.insertBefore(next.kept, at);
		} else if (key && keyed.has(key) && keyed.get(key) !== at) {
			const known = keyed.get(key);
			// What stands before it and is gone from the list goes first, so that a row that stays need not be moved.
			while (at && at !== known && !stays(at, wanted)) at = dropped(at);
			if (at !== known) shown.insertBefore(known, at);
			else at = known.nextSibling;
			sync(known, next);
		} else if (at && isSame(at, next)) {
			sync(at, next);
			at = at.nextSibling;
		} else {
			shown.insertBefore(next, at);
		}
		if (key) keyed.delete(key);
	}
	while (at) at = dropped(at);
}

function dropped(node) {
	const next = node.nextSibling;
	node.remove();
	return next;
}

function stays(node, wanted) {
	const key = keyOf(node);
	return key !== null && [...wanted.children].some(child => keyOf(child) === key);
}

function keyOf(node) {
	return node.nodeType === 1 ? node.getAttribute('data-key') : null;
}

function isSame(one, other) {
	return one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

function sync(shown, fresh) {
	if (shown.nodeType !== 1) {
		if (shown.data !== fresh.data) shown.data = fresh.data;
		return;
	}
	for (const {name} of [...shown.attributes]) {
		if (!fresh.hasAttribute(name) && !isTheirs(shown, name)) shown.removeAttribute(name);
	}
	for (const {name, value} of [...fresh.attributes]) {
		if (shown.getAttribute(name) !== value && !isTheirs(shown, name)) shown.setAttribute(name, value);
	}
	for (const name of HANDLERS) if (shown[name] !== fresh[name]) shown[name] = fresh[name];
	if (shown.type === 'checkbox' || shown.type === 'radio') {
		shown.checked = fresh.checked;
		shown.indeterminate = fresh.indeterminate;
	}
	patch(shown, fresh);
	// What someone types now is theirs.
	if ('given' in fresh) {
		if (shown.given !== fresh.given && document.activeElement !== shown) shown.value = fresh.given;
		shown.given = fresh.given;
	}
}
