// The keyboard: `g` and a letter opens a page, `/` leads to the search, `j` and `k` walk a list, `?` tells all of it.
// Single keys do nothing while someone types, and nothing together with Ctrl, Alt or Meta; who speaks to
// the machine, or types by chance, turns them off.

import {h} from './h.js';
import {t} from './words.js';
import {remember, remembered} from './memory.js';
import {ask} from './parts.js';

let isGoing = false;

/**
 * letters: the pages by their letters
 * own: what keys do on the open page
 */
export function onKey(event, letters, own) {
	const target = event.target;
	const isTyping = target.closest('input:not([type=checkbox]):not([type=radio]), textarea, select, dialog');
	if (event.ctrlKey || event.altKey || event.metaKey || isTyping || remembered('keys') === 'off') return;
	const act =
		isGoing && letters[event.key] ? () => (location.hash = `#/${letters[event.key]}`) : (common(event.key, letters) ?? own[event.key]);
	isGoing = event.key === 'g' && !isGoing;
	if (!act) return;
	event.preventDefault();
	act();
}

function common(key, letters) {
	if (key === '?') return () => help(letters);
	if (key === '/') return () => search();
	if (key === 'j') return () => walk(1);
	if (key === 'k') return () => walk(-1);
	return null;
}

function search() {
	const box = document.querySelector('input[type=search]');
	if (box) {
		box.focus();
		box.select();
	} else location.hash = '#/messages';
}

/** Moves to the next or the former row that leads somewhere. */
function walk(step) {
	const links = [...document.querySelectorAll('tbody [data-walk], ol [data-walk], li [data-walk]')];
	if (!links.length) return;
	const at = links.indexOf(document.activeElement);
	const next = links[Math.min(links.length - 1, Math.max(0, at + step))];
	next.focus();
	next.scrollIntoView({block: 'nearest'});
}

/** The keys, in a dialog. */
export function help(letters) {
	const rows = [
		['/', t('key.search')],
		['j k', t('key.walk')],
		['x', t('key.select')],
		['r', t('key.resend')],
		['e', t('key.edit')],
		['?', t('key.help')],
	];
	const pages = Object.entries(letters).map(([letter, name]) => [`g ${letter}`, t(`page.${name}`)]);
	const lines = [...rows, ...pages].map(([keys, what]) =>
		h(
			'div',
			h(
				'dt',
				keys.split(' ').map(key => h('kbd', key)),
			),
			h('dd', what),
		),
	);
	const single = h('input', {
		type: 'checkbox',
		checked: remembered('keys') !== 'off',
		onchange: () => remember('keys', single.checked ? 'on' : 'off'),
	});
	ask(t('help'), [h('dl.keys', lines), h('label.row', single, t('key.single'))], {submit: t('close'), done: async () => {}});
}
