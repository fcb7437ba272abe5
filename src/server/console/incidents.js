// The incidents: failures of one cause as one thing, from the first to the last, and the way to send again all that failed by it.

import {h} from './h.js';
import {may, maybe, piece, query} from './api.js';
import {known, number, t} from './words.js';
import {absent, button, code, empty, facts, isolated, mark, messageLink, table, when} from './parts.js';
import {laneLink} from './destinations.js';
import {askAll} from './bulk.js';

export function incidents(here) {
	const id = here.params.get('id');
	const state = here.params.get('state') ?? 'open';
	let found = null;

	async function load(signal) {
		found = await maybe(id ? `/v1/incidents/${piece(id)}` : `/v1/incidents${query({state})}`, signal);
	}

	/** Fixed: everything that failed by it goes again, oldest first, as fast as is said. */
	const resend = incident =>
		askAll('resend', {filter: incident.filter, clear: here.reload}, {title: t('incident.resend'), reason: t('incident.fixed')});

	const standing = incident =>
		incident.state === 'open' ? mark('warn', 'failed', t('incident.open')) : mark('ok', 'delivered', t('incident.closed'));
	const again = incident =>
		may('operate') && incident.open > 0 && button(t('incident.resend'), () => resend(incident), {'data-act': 'resend'});

	function one(incident) {
		return [
			h('p', h('a', {href: '#/incidents'}, t('incident.all'))),
			h(
				'section.verdict',
				{class: incident.state === 'open' ? 'failed' : 'delivered'},
				h('div.row', standing(incident), again(incident)),
				h('p.sentence', isolated(incident.reason)),
			),
			facts([
				[t('col.destination'), laneLink(incident.destination)],
				[t('attempt.class'), h('span', known(`class.${incident.class}`, incident.class), ' ', code(incident.class))],
				[
					t('incident.undelivered'),
					h('a', {href: `#/messages${query({filter: incident.filter})}`}, number(incident.open) + (incident.open_is_least ? '+' : '')),
				],
				[t('page.messages'), number(incident.messages)],
				[t('incident.failures'), number(incident.failures)],
				[t('incident.first'), when(incident.first_at)],
				[t('incident.last'), when(incident.last_at)],
				[t('incident.ended'), incident.closed_at && when(incident.closed_at)],
				[t('col.oldest'), incident.oldest && h('span.row', messageLink(incident.oldest.id), code(incident.oldest.key))],
				[t('incident.sample'), incident.sample && h('span', messageLink(incident.sample.id), h('p', isolated(incident.detail ?? '')))],
			]),
		];
	}

	function list() {
		const tabs = h(
			'nav.tabs',
			{'aria-label': t('states')},
			h(
				'ul',
				['open', 'closed', 'all'].map(name =>
					h(
						'li',
						h(
							'a',
							{href: `#/incidents?state=${name}`, 'aria-current': name === state ? 'true' : null},
							t(name === 'all' ? 'state.all' : `incident.${name}`),
						),
					),
				),
			),
		);
		if (!found.incidents.length) return [tabs, empty(state === 'open' ? t('incidents.none') : t('filter.none'))];
		return [
			tabs,
			table(
				t('page.incidents'),
				[
					{
						name: t('incident'),
						kind: 'name',
						cell: incident =>
							h(
								'span',
								h('a', {href: `#/incidents?id=${incident.id}`, 'data-walk': true}, isolated(incident.reason)),
								h('span.under', standing(incident)),
							),
					},
					{name: t('col.destination'), cell: incident => laneLink(incident.destination)},
					{name: t('incident.undelivered'), kind: 'number', cell: incident => number(incident.open)},
					{name: t('incident.failures'), kind: 'number', cell: incident => number(incident.failures)},
					{name: t('incident.first'), cell: incident => when(incident.first_at)},
					{name: t('incident.last'), cell: incident => when(incident.last_at)},
					...(may('operate') ? [{name: t('actions'), kind: 'hands', cell: again}] : []),
				],
				found.incidents,
				{key: incident => incident.id},
			),
		];
	}

	const view = () => (found === null ? absent() : id ? one(found) : list());

	return {title: () => t('page.incidents'), load, view};
}
