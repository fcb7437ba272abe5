// The destinations: how each stands, what holds it, how long what waits will take, and the hand that stops it or lets it go; the comparisons, and the sources.

import {h} from './h.js';
import {change, get, may, piece, query} from './api.js';
import {known, number, span, t} from './words.js';
import {ask, button, code, complain, empty, field, isolated, mark, notice, table, when} from './parts.js';
import {link} from './filter.js';
import {holds} from './reasons.js';
import {agreement} from './agreement.js';

/** Steers a destination. */
export const steer = (name, what, why = '') => change('POST', `/v1/destinations/${piece(name)}/${what}${query({why})}`);

export function destinations(here) {
	let lanes = [];
	let sources = [];
	let compared = [];
	const wanted = here.params.get('name');

	async function load(signal) {
		const [to, from, both] = await Promise.all(['destinations', 'sources', 'reconcile'].map(what => get(`/v1/${what}`, signal)));
		[lanes, sources, compared] = [to.destinations, from.sources, both.reconcile];
	}

	const then = (promise, text) =>
		promise.then(() => {
			notice(text);
			here.reload();
		}, complain);

	function pause(lane) {
		const why = h('input', {maxlength: '500', required: true, autocomplete: 'off'});
		ask(t('pause.title', {destination: lane.name}), [h('p', t('pause.text')), field(t('reason'), why)], {
			submit: t('act.pause'),
			done: async () => {
				await steer(lane.name, 'pause', why.value);
				notice(t('paused.done', {destination: lane.name}));
				here.reload();
			},
		});
	}

	const hands = lane =>
		h(
			'div.row',
			lane.paused || lane.waits_for === 'breaker'
				? button(t('act.resume'), () => then(steer(lane.name, 'resume'), t('resumed.done', {destination: lane.name})), {
						'data-act': 'resume',
						'aria-label': t('resume.of', {destination: lane.name}),
					})
				: button(t('act.pause'), () => pause(lane), {'data-act': 'pause', 'aria-label': t('pause.title', {destination: lane.name})}),
			lane.cycle &&
				button(t('act.cycle'), () => then(steer(lane.name, 'cycle'), t('cycle.done', {destination: lane.name})), {
					'data-act': 'cycle',
					'aria-label': t('cycle.of', {destination: lane.name}),
				}),
		);

	const health = lane => {
		if (!lane.configured) return mark('calm', 'info', t('lane.gone'));
		if (lane.paused) return mark('warn', 'held', t('lane.paused'));
		if (lane.waits_for === 'breaker') return mark('bad', 'warn', t('lane.broken'));
		if (lane.late > 0) return mark('warn', 'queued', t('lane.late'));
		if (lane.failed > 0) return mark('warn', 'failed', t('lane.retries'));
		return lane.waits_for ? mark('info', 'queued', t('lane.waits')) : mark('ok', 'delivered', t('lane.well'));
	};

	const reason = lane =>
		lane.paused
			? h(
					'span',
					known(`pause.${lane.paused.cause}`, lane.paused.cause),
					h('small', isolated([lane.paused.who, lane.paused.why].filter(Boolean).join(': ')), ' · ', when(lane.paused.at)),
				)
			: h('span', holds(lane), lane.held_by && h('small', isolated(lane.held_by)));

	/** Where messages come from, and when each was last read. */
	const origins = () => {
		const columns = [
			{name: t('col.source'), kind: 'name', cell: source => isolated(source.name)},
			{name: t('col.kind'), cell: source => code(source.kind)},
			{
				name: t('col.state'),
				kind: 'wide',
				cell: source => h('span', source.state && code(source.state), source.last_error && h('small', isolated(source.last_error))),
			},
			{name: t('col.read'), cell: source => when(source.read_at)},
			{name: t('col.next'), cell: source => when(source.next_at)},
		];
		return [h('h2', t('sources')), table(t('sources'), columns, sources, {key: source => source.name})];
	};

	function view() {
		const shown = wanted ? lanes.filter(lane => lane.name === wanted) : lanes;
		if (!shown.length)
			return empty(
				wanted ? t('lane.unknown', {destination: wanted}) : t('none'),
				wanted && h('a', {href: '#/destinations'}, t('lane.all')),
			);
		const count = state => ({
			name: t(`state.${state}`),
			kind: 'number',
			cell: lane => (lane[state] ? h('a', {href: link({to: lane.name, state})}, number(lane[state])) : '0'),
		});
		const columns = [
			{
				name: t('col.destination'),
				kind: 'name',
				cell: lane =>
					h('span', h('a', {href: link({to: lane.name}), 'data-walk': true}, isolated(lane.name)), h('span.under', health(lane))),
			},
			{name: t('col.holds'), kind: 'wide', cell: reason},
			{name: t('col.out'), kind: 'number', cell: lane => number(lane.out ?? 0)},
			{
				name: t('col.waiting'),
				kind: 'number',
				cell: lane =>
					h('span', number(lane.waiting ?? 0), lane.late > 0 && h('small', t('late.count', {n: lane.late, count: number(lane.late)}))),
			},
			{name: t('col.oldest'), cell: lane => when(lane.oldest)},
			{
				name: t('col.drains'),
				cell: lane => (lane.drains_in_ms === null || lane.drains_in_ms === undefined ? '–' : span(lane.drains_in_ms)),
			},
			count('failed'),
			count('abandoned'),
			count('delivered'),
			...(may('operate') ? [{name: t('actions'), kind: 'hands', cell: lane => (lane.configured ? hands(lane) : '')}] : []),
		];
		return [
			wanted && h('p', h('a', {href: '#/destinations'}, t('lane.all'))),
			table(t('page.destinations'), columns, shown, {key: lane => lane.name}),
			...(wanted || !compared.length ? [] : agreement(compared, here.reload)),
			...(wanted || !sources.length ? [] : origins()),
		];
	}

	return {title: () => t('page.destinations'), load, view};
}

/** The name of a destination that links to its row. */
export const laneLink = name => h('a', {href: `#/destinations?name=${encodeURIComponent(name)}`}, code(name));
