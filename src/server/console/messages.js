// The list of messages: by state, by a filter in the one language, page by page; and what is asked of one, a page, or all that match.

import {h} from './h.js';
import {get, may, query} from './api.js';
import {brief, number, t} from './words.js';
import {code, empty, isolated, messageLink, press, stateMark, table, when} from './parts.js';
import {columnOf, set, valueOf} from './filter.js';
import {waits} from './reasons.js';
import {actions} from './bulk.js';

const STATES = ['queued', 'sending', 'delivered', 'failed', 'abandoned'];
const PAGE = 50;

export function messages(here) {
	const filter = here.params.get('filter') ?? '';
	const cursor = here.params.get('cursor') ?? '';
	const state = {list: null, counts: null, wrong: null, selected: new Set(), all: false, text: filter};
	const selection = {
		filter,
		get all() {
			return state.all;
		},
		get messages() {
			return chosen();
		},
		clear,
	};

	const chosen = () => (state.list?.messages ?? []).filter(message => state.selected.has(message.id));
	const address = words => `#/messages${query(words)}`;
	const go = text => {
		const next = address({filter: text.trim()});
		if (location.hash === next) here.reload();
		else location.hash = next;
	};

	function clear() {
		state.selected.clear();
		state.all = false;
		here.reload();
	}

	async function load(signal) {
		const [list, stats] = await Promise.all([
			get(`/v1/messages${query({filter, cursor, limit: PAGE})}`, signal).catch(problem => {
				if (problem.status !== 400 && problem.status !== 422) throw problem;
				return {messages: [], next: null, wrong: problem};
			}),
			get('/v1/stats', signal),
		]);
		state.wrong = list.wrong ?? null;
		state.list = list;
		state.counts = sum(stats, valueOf(filter, 'to'));
		const there = new Set(list.messages.map(message => message.id));
		for (const id of state.selected) if (!there.has(id)) state.selected.delete(id);
	}

	function search() {
		const column = state.wrong ? columnOf(state.wrong.detail) : null;
		const box = h('input', {
			type: 'search',
			id: 'filter',
			value: state.text,
			placeholder: 'state:failed to:erp key:sku-1* since:2h',
			spellcheck: 'false',
			autocomplete: 'off',
			'aria-label': t('filter.label'),
			'aria-invalid': state.wrong ? 'true' : null,
			'aria-describedby': state.wrong ? 'filter-wrong' : 'filter-hint',
			oninput: event => (state.text = event.target.value),
		});
		return h(
			'form.search',
			{
				role: 'search',
				onsubmit: event => {
					event.preventDefault();
					go(event.target.elements.filter.value);
				},
			},
			h(
				'div.row',
				box,
				h('button.first', {type: 'submit'}, t('filter.go')),
				filter && h('a.button', {href: address({})}, t('filter.clear')),
			),
			state.wrong
				? h('div.wrong', {id: 'filter-wrong', role: 'alert'}, column && pointed(filter, column), h('p', isolated(state.wrong.detail)))
				: h('p.quiet.small', {id: 'filter-hint'}, 'state: to: key: type: reason: remote: since: until:'),
		);
	}

	/** The filter with what is wrong in it marked. */
	function pointed(text, column) {
		const letters = [...text];
		const end = letters.findIndex((letter, at) => at >= column && /\s/.test(letter));
		const to = end < 0 ? letters.length : end;
		return h(
			'pre.pointed',
			letters.slice(0, column - 1).join(''),
			h('mark', letters.slice(column - 1, to).join('') || ' '),
			letters.slice(to).join(''),
		);
	}

	function tabs() {
		const current = valueOf(filter, 'state');
		const tab = (name, count) =>
			h(
				'li',
				h(
					'a',
					{href: address({filter: set(filter, 'state', name)}), 'aria-current': (name ?? '') === (current ?? '') ? 'true' : null},
					h('span', t(`state.${name ?? 'all'}`)),
					count !== undefined && h('span.count', {title: number(count)}, brief(count)),
				),
			);
		const counts = state.counts ?? {};
		const all = state.counts ? STATES.reduce((sum, name) => sum + counts[name], 0) : undefined;
		return h(
			'nav.tabs',
			{'aria-label': t('states')},
			h(
				'ul',
				tab(null, all),
				STATES.map(name => tab(name, counts[name])),
			),
		);
	}

	const box = (label, checked, onchange, more = {}) => h('input', {type: 'checkbox', 'aria-label': label, checked, onchange, ...more});

	function selectPage(event) {
		for (const message of state.list.messages) event.target.checked ? state.selected.add(message.id) : state.selected.delete(message.id);
		state.all = false;
		here.redraw();
	}

	function rows() {
		const list = state.list.messages;
		const columns = [
			{name: t('col.message'), kind: 'name', cell: message => messageLink(message.id)},
			{name: t('col.state'), cell: stateMark},
			{name: t('col.destination'), cell: message => code(message.destination)},
			{name: t('col.key'), cell: message => code(message.key), kind: 'wide'},
			{
				name: t('col.why'),
				cell: message => [
					h('span', message.reason ?? message.last_class ?? '', message.last_status ? ` ${message.last_status}` : ''),
					' ',
					h('small.beside', short(message)),
				],
				kind: 'wide',
			},
			{name: t('col.attempts'), cell: message => number(message.attempts), kind: 'number'},
			{name: t('col.accepted'), cell: message => when(message.accepted_at)},
		];
		if (may('operate')) {
			const part = state.selected.size > 0 && state.selected.size < list.length;
			columns.unshift({
				name: box(t('select.page'), state.selected.size === list.length && list.length > 0, selectPage, {indeterminate: part}),
				kind: 'pick',
				cell: message =>
					box(t('select.one', {id: message.id}), state.selected.has(message.id), event => {
						event.target.checked ? state.selected.add(message.id) : state.selected.delete(message.id);
						state.all = false;
						here.redraw();
					}),
			});
		}
		const shown = table(t('page.messages'), columns, list, {
			key: message => message.id,
			row: message => ({class: state.selected.has(message.id) ? 'chosen' : null}),
		});
		for (const link of shown.querySelectorAll('a.id')) link.setAttribute('data-walk', '');
		return shown;
	}

	const short = message => (message.state === 'failed' || message.state === 'queued' ? waits(message) : '');

	function view() {
		const {list} = state;
		return [
			search(),
			tabs(),
			list.damaged?.map(text => h('p.wrong', isolated(text))),
			may('operate') && state.selected.size > 0 && actions(selection, state, here, list),
			list.messages.length
				? rows()
				: !state.wrong && empty(filter ? t('filter.none') : t('none'), !filter && h('p.quiet', t('messages.first'))),
			h(
				'div.row.pager',
				cursor && h('a.button', {href: address({filter})}, t('newest')),
				list.next && h('a.button', {href: address({filter, cursor: list.next}), rel: 'next'}, t('older')),
				list.scanned_until && h('p.quiet', t('scanned'), ' ', when(list.scanned_until)),
			),
		];
	}

	return {
		title: () => t('page.messages'),
		load,
		view,
		// A page further down does not change under the eyes of who reads it, and one that was long to find is not looked for each second.
		concerns: () => !cursor && !state.list?.scanned_until,
		keys: {x: () => document.activeElement?.closest('tr')?.querySelector('input')?.click(), r: () => press('[data-act=resend]')},
	};
}

/** How many stand where, of one destination or of all. */
function sum(stats, destination) {
	const counts = Object.fromEntries(STATES.map(state => [state, 0]));
	for (const one of stats.destinations) {
		if (!destination || destination.split(',').includes(one.name)) for (const state of STATES) counts[state] += one[state];
	}
	return counts;
}
