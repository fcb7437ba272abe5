// The parts that pages are made of: states, times, tables, refusals, dialogs and short notices.

import {h} from './h.js';
import {ago, clock, exactly, known, number, t} from './words.js';

const SHAPES = {
	queued: 'M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11M8 5v3.2l2.2 1.6',
	sending: 'M2.5 8h10M8.5 4l4 4-4 4',
	delivered: 'M3 8.5l3.2 3.3L13 4.5',
	failed: 'M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3',
	abandoned: 'M4 4l8 8M12 4l-8 8',
	held: 'M5.5 3.5v9M10.5 3.5v9',
	warn: 'M8 2.5L14 13H2zM8 6.5v3M8 11.2v.3',
	info: 'M8 7.5v4M8 4.5v.3M8 1.8a6.2 6.2 0 1 0 0 12.4a6.2 6.2 0 1 0 0-12.4',
	uncertain: 'M5.5 6a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.8-1.1 1.6M8 12.3v.3',
};

/** A small drawing that a word stands beside. */
export const icon = name =>
	h('svg.icon', {viewBox: '0 0 16 16', 'aria-hidden': 'true', focusable: 'false'}, h('path', {d: SHAPES[name] ?? SHAPES.info}));

/** An icon and a word in the colour of a tone: `ok`, `warn`, `bad`, `info`, `hold` or `calm`. */
export const mark = (tone, shape, text) => h(`span.mark.${tone}`, icon(shape), h('span', text));

const TONES = {queued: 'info', sending: 'info', delivered: 'ok', failed: 'warn', abandoned: 'bad'};

/** The state of a message. */
export function stateMark(message) {
	if (message.waits_for === 'held') return mark('hold', 'held', t('state.held'));
	const quiet = ['superseded', 'cancelled'].includes(message.reason);
	return mark(quiet ? 'calm' : (TONES[message.state] ?? 'info'), message.state, known(`state.${message.state}`, message.state));
}

/** How an attempt ended. */
export function outcomeMark(outcome) {
	const tone = {delivered: 'ok', retry: 'warn', rejected: 'bad', uncertain: 'hold'}[outcome] ?? 'info';
	const shape = {delivered: 'delivered', retry: 'failed', rejected: 'abandoned', uncertain: 'uncertain'}[outcome] ?? 'info';
	return mark(tone, shape, known(`outcome.${outcome}`, outcome));
}

/** A time: how long ago, the whole of it for those who point at it. */
export const when = at => (at ? h('time', {datetime: at, title: exactly(at)}, ago(at)) : '–');
/** A time: the time of day. */
export const moment = at => (at ? h('time', {datetime: at, title: exactly(at)}, clock(at)) : '–');

/** A text of a stranger: kept on its line, cut by the page where it is too long, whole for those who point at it. */
export const code = (text, title = text) =>
	text === null || text === undefined || text === '' ? h('span.none', '–') : h('code', {title}, isolated(text));

/** A text whose direction stays its own, and whose control characters show. */
export function isolated(text) {
	return h(
		'bdi',
		String(text).replace(
			/\r(?!\n)|[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
			'\ufffd',
		),
	);
}

/**
 * A table. A column is `{name, cell, kind?}`: `kind` is `number`, `wide` or `name` (the cell that names the row).
 * caption: what it holds, for those who do not see it
 */
export function table(caption, columns, rows, {key, row: attributes} = {}) {
	const head = h(
		'thead',
		h(
			'tr',
			columns.map(column => h('th', {scope: 'col', class: column.kind}, column.name)),
		),
	);
	const body = rows.map(row =>
		h(
			'tr',
			{'data-key': key?.(row), ...attributes?.(row)},
			columns.map(column =>
				column.kind === 'name'
					? h('th', {scope: 'row', 'data-name': labelOf(column)}, column.cell(row))
					: h('td', {class: column.kind, 'data-name': labelOf(column)}, column.cell(row)),
			),
		),
	);
	return h(
		'div.scroll.rows',
		{tabindex: '0', role: 'region', 'aria-label': caption, 'data-key': 'table'},
		h('table', h('caption.unseen', caption), head, h('tbody', body)),
	);
}

const labelOf = column => (typeof column.name === 'string' ? column.name : null);

/** Names and values, one a line. */
export const facts = pairs =>
	h(
		'dl.facts',
		pairs.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => h('div', h('dt', name), h('dd', value))),
	);

export const button = (label, onclick, more = {}) => h('button', {type: 'button', onclick, ...more}, label);

/** Nothing to show, and why. */
export const empty = (text, ...more) => h('div.empty', h('p', text), more);

/** What is not here because this node does not have it. */
export const absent = () => empty(t('absent'));

/** A refusal, as a part of the page. */
export function refusal(problem, again) {
	return h(
		'div.refusal',
		{role: 'alert'},
		icon('warn'),
		h(
			'div',
			h('strong', titleOf(problem)),
			h('p', isolated(problem.detail || problem.message || '')),
			problem.hint && h('p.quiet', isolated(problem.hint)),
			again && button(t('again'), again),
		),
	);
}

export const titleOf = problem => (problem.status === 0 ? t('unreachable') : problem.title || t('failed'));

/** A short notice that goes by itself. */
export function notice(text, tone = 'ok') {
	const place = document.getElementById('notices');
	const shown = h(`p.notice.${tone}`, icon(tone === 'ok' ? 'delivered' : 'warn'), h('span', isolated(text)));
	place?.append(shown);
	setTimeout(() => shown.remove(), tone === 'ok' ? 5_000 : 12_000);
}

/** Says a refusal as a notice. */
export const complain = problem => notice([titleOf(problem), problem.detail, problem.hint].filter(Boolean).join(' · '), 'bad');

/** A dialog. Its content is a form; `done` is called when it is sent, may refuse by throwing, and may answer with what comes once it is closed. */
export function ask(title, content, {submit, danger = false, done}) {
	const wrong = h('div');
	const go = h('button', {type: 'submit', class: danger ? 'danger' : 'first'}, submit);
	const before = document.activeElement;
	let next;
	const form = h(
		'form',
		{
			method: 'dialog',
			onsubmit: async event => {
				event.preventDefault();
				go.disabled = true;
				try {
					next = await done();
					dialog.close();
				} catch (problem) {
					wrong.replaceChildren(refusal(problem));
				} finally {
					go.disabled = false;
				}
			},
		},
		h('h2', {id: 'dialog-title'}, title),
		content,
		wrong,
		h(
			'div.row.end',
			button(t('cancel'), () => dialog.close()),
			go,
		),
	);
	const dialog = h(
		'dialog',
		{
			'aria-labelledby': 'dialog-title',
			onclose: () => {
				dialog.remove();
				before?.focus();
				next?.();
			},
		},
		form,
	);
	document.body.append(dialog);
	dialog.showModal();
	// What is dangerous is not under the finger of who presses Enter too soon.
	form.querySelector('input:not([type=checkbox]), select, textarea, .end button')?.focus();
	return dialog;
}

/** A field of a form with its label. */
export const field = (label, input, hint = '') => h('label.field', h('span', label), input, hint && h('small', hint));

/** The link of a message. */
export const messageLink = (id, text = null) =>
	h('a', {href: `#/message/${id}`, title: id, class: 'id'}, text ?? `…${String(id).slice(-8)}`);

/** A count with its word. */
export const counted = (key, n, more = {}) => t(key, {n, count: number(n), ...more});
/** What will be done to so many messages, and what was. */
export const asked = (act, n) => [
	h('p', counted('ask', n, {act: t(`act.${act}`)})),
	known(`note.${act}`, '') && h('p.quiet', t(`note.${act}`)),
];
export const done = (act, n) => counted('done', n, {act: t(`act.${act}`)});

/** Does what a click on it does, where it is there. */
export const press = selector => document.querySelector(selector)?.click();
