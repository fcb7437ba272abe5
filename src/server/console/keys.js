// The keys: what should be in sync and is not, since when; and the whole story of one key over all destinations.

import {h} from './h.js';
import {maybe, query} from './api.js';
import {known, number, t} from './words.js';
import {absent, code, empty, isolated, mark, messageLink, moment, table, when} from './parts.js';
import {link, sayable} from './filter.js';

const TONES = {
	delivered: ['ok', 'delivered'],
	failed: ['warn', 'failed'],
	attempt: ['warn', 'failed'],
	abandoned: ['bad', 'abandoned'],
	superseded: ['calm', 'abandoned'],
	waits: ['info', 'queued'],
};

export function keys(here) {
	const {params} = here;
	const story = params.get('explain');
	const standing = params.get('state') ?? 'behind';
	let found = null;

	async function load(signal) {
		found = story
			? await maybe(`/v1/explain${query({key: story})}`, signal)
			: await maybe(
					`/v1/keys${query({state: standing === 'all' ? null : standing, key: params.get('key'), destination: params.get('destination'), cursor: params.get('cursor'), limit: 50})}`,
					signal,
				);
	}

	const address = words =>
		`#/keys${query({state: params.get('state'), key: params.get('key'), destination: params.get('destination'), ...words})}`;

	function search() {
		const box = h('input', {
			type: 'search',
			name: 'key',
			value: story ?? params.get('key') ?? '',
			placeholder: 'order:17',
			'aria-label': t('keys.search'),
			spellcheck: 'false',
		});
		const all = [
			['behind', t('keys.behind')],
			['in-sync', t('keys.insync')],
			['all', t('state.all')],
		];
		return [
			h(
				'form.search',
				{
					role: 'search',
					onsubmit: event => {
						event.preventDefault();
						const {value} = event.target.elements.key;
						location.hash = value ? `#/keys${query({explain: value.trim()})}` : '#/keys';
					},
				},
				h('div.row', box, h('button.first', {type: 'submit'}, t('keys.explain'))),
			),
			!story &&
				h(
					'nav.tabs',
					{'aria-label': t('states')},
					h(
						'ul',
						all.map(([state, text]) =>
							h('li', h('a', {href: address({state, cursor: null}), 'aria-current': standing === state ? 'true' : null}, text)),
						),
					),
				),
		];
	}

	function told() {
		if (!found.lines?.length) return empty(t('keys.unknown'));
		return [
			h('h2', t('keys.story', {key: story})),
			h(
				'ol.life',
				found.lines.map(line => {
					const [tone, shape] = TONES[line.what] ?? ['info', 'info'];
					return h(
						'li',
						moment(line.at),
						h(
							'div',
							mark(tone, shape, known(`what.${line.what}`, known(`state.${line.what}`, line.what))),
							' ',
							code(line.destination),
							h('p', isolated(line.text)),
							messageLink(line.id),
						),
					);
				}),
			),
		];
	}

	function list() {
		if (!found.keys?.length) return empty(standing === 'behind' ? t('keys.well') : t('filter.none'));
		const shown = table(
			t('page.keys'),
			[
				{
					name: t('col.key'),
					kind: 'name',
					cell: key =>
						h(
							'span',
							h('a', {href: `#/keys${query({explain: key.key})}`, 'data-walk': true}, code(key.key)),
							h('span.under', key.in_sync ? mark('ok', 'delivered', t('keys.insync')) : mark('warn', 'failed', t('keys.behind'))),
						),
				},
				{name: t('col.destination'), cell: key => code(key.destination)},
				{
					name: t('keys.accepted'),
					cell: key =>
						key.last_accepted &&
						h(
							'span',
							messageLink(key.last_accepted.id),
							h('small', when(key.last_accepted.at), ' · ', known(`state.${key.last_accepted.state}`, key.last_accepted.state)),
						),
				},
				{
					name: t('keys.delivered'),
					cell: key => (key.last_delivered ? h('span', messageLink(key.last_delivered.id), h('small', when(key.last_delivered.at))) : '–'),
				},
				{name: t('keys.since'), cell: key => when(key.behind_since)},
				{
					name: t('page.messages'),
					kind: 'number',
					cell: key =>
						sayable(key.key) ? h('a', {href: link({to: key.destination, key: key.key})}, number(key.messages)) : number(key.messages),
				},
			],
			found.keys,
			{key: key => `${key.destination} ${key.key}`},
		);
		return [
			shown,
			h(
				'div.row.pager',
				found.next && h('a.button', {href: address({cursor: found.next})}, t('older')),
				found.scanned_until && h('p.quiet', t('scanned'), ' ', when(found.scanned_until)),
			),
		];
	}

	const view = () => [search(), found === null ? absent() : story ? told() : list()];

	return {
		title: () => t('page.keys'),
		load,
		view, // Keys are long to look through.
		concerns: () => false,
	};
}
