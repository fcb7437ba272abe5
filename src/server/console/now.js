// The first page: one sentence, what needs a person by its urgency, and the last hour as charts.

import {h} from './h.js';
import {get, maybe} from './api.js';
import {brief, known, number, size, span, t} from './words.js';
import {code, icon, isolated, messageLink, moment, when} from './parts.js';
import {link} from './filter.js';
import {chart, counting} from './chart.js';
import {holds} from './reasons.js';

/** What rests undelivered and waits for a person; superseded and cancelled is as it should be. */
const RESTS = ['exhausted', 'rejected', 'expired'];
const PAGE = 100;
/** What was given up is long to find among much that was superseded: it is looked for so often, at most. */
const RESTS_MS = 10_000;

export function now(here) {
	const state = {stats: null, lanes: [], held: null, rests: [], incidents: null, alerts: null, history: null, restsAt: 0};

	async function load(signal) {
		const list = words => get(`/v1/messages?limit=${PAGE}&${words}`, signal);
		const [stats, lanes, held, incidents, alerts, history] = await Promise.all([
			get('/v1/stats', signal),
			get('/v1/destinations', signal),
			list('state=failed,queued&reason=held'),
			maybe('/v1/incidents', signal),
			maybe('/v1/alerts', signal),
			maybe('/v1/history', signal),
		]);
		if (Date.now() - state.restsAt > RESTS_MS) {
			state.rests = await Promise.all(RESTS.map(reason => list(`state=abandoned&reason=${reason}`)));
			state.restsAt = Date.now();
		}
		Object.assign(state, {
			stats,
			lanes: lanes.destinations,
			held,
			incidents: incidents?.incidents ?? [],
			alerts: alerts?.rules ?? [],
			history,
		});
	}

	function view() {
		const needs = [...trouble(state), ...waiting(state), ...resting(state), ...lanes(state), ...causes(state), ...channels(state)];
		return [
			sentence(needs),
			needs.length > 0 &&
				h(
					'ul.needs',
					needs.map(need =>
						h(
							'li',
							{class: need.tone, 'data-key': need.key},
							icon(need.icon),
							h('div', h('a', {href: need.href, 'data-walk': true}, need.text), need.more && h('p.quiet', need.more)),
						),
					),
				),
			figures(state),
			state.history ? h('div.charts', charts(state.history)) : h('p.quiet', t('now.nohistory')),
		];
	}

	return {title: () => t('page.now'), load, view};
}

function sentence(needs) {
	return needs.length
		? h('p.first.bad', {role: 'status'}, icon('warn'), h('span', t('now.needs', {n: needs.length, count: number(needs.length)})))
		: h('p.first.ok', {role: 'status'}, icon('delivered'), h('span', t('now.well')));
}

/** The node itself. */
function* trouble({stats}) {
	for (const text of stats.damaged ?? [])
		yield {key: `damaged-${text}`, tone: 'bad', icon: 'warn', href: '#/system', text: t('need.damaged'), more: isolated(text)};
	const {free_bytes: free, reserve_bytes: reserve} = stats.store;
	if (free !== null && free < reserve)
		yield {key: 'disk', tone: 'bad', icon: 'warn', href: '#/system', text: t('need.disk', {free: size(free)})};
}

/** Only a person can say what shall become of these. */
function* waiting({held}) {
	const waits = held.messages;
	const groups = [
		['uncertain', waits.filter(message => message.state === 'failed')],
		['held', waits.filter(message => message.state === 'queued')],
	];
	for (const [name, messages] of groups) {
		if (!messages.length) continue;
		const more = [
			h('span', t('need.oldest'), ' ', when(messages.at(-1).accepted_at), ': '),
			messages.slice(0, 3).map(message => [messageLink(message.id), ' ', code(message.key), ' ']),
		];
		yield {
			key: name,
			tone: 'hold',
			icon: name,
			href: messages.length === 1 ? `#/message/${messages[0].id}` : link({state: name === 'held' ? 'queued' : 'failed'}),
			text: t(`need.${name}`, {n: messages.length, count: atLeast(messages.length, held)}),
			more,
		};
	}
}

const atLeast = (count, list) => (list.next ? `${number(count)}+` : number(count));

/** What was given up, by destination and reason. */
function* resting({rests}) {
	for (const [at, list] of rests.entries()) {
		const by = Map.groupBy(list.messages, message => message.destination);
		for (const [destination, messages] of by) {
			yield {
				key: `${RESTS[at]}-${destination}`,
				tone: 'bad',
				icon: 'abandoned',
				href: link({to: destination, state: 'abandoned', reason: RESTS[at]}),
				text: t(`need.${RESTS[at]}`, {n: messages.length, count: atLeast(messages.length, list), destination}),
				more: h('span', t('need.latest'), ' ', when(messages[0].updated_at), messages[0].key ? [': ', code(messages[0].key)] : null),
			};
		}
	}
}

/** Destinations that are late, paused or broken. */
function* lanes({lanes: all}) {
	for (const lane of all) {
		const href = `#/destinations?name=${encodeURIComponent(lane.name)}`;
		if (lane.late > 0) {
			yield {
				key: `late-${lane.name}`,
				tone: 'warn',
				icon: 'queued',
				href,
				text: t('need.late', {n: lane.late, count: number(lane.late), destination: lane.name}),
				more: lane.oldest && h('span', t('need.oldest'), ' ', when(lane.oldest), lane.waits_for && ` · ${holds(lane)}`),
			};
		}
	}
	for (const lane of all) {
		const href = `#/destinations?name=${encodeURIComponent(lane.name)}`;
		if (lane.paused)
			yield {
				key: `paused-${lane.name}`,
				tone: 'warn',
				icon: 'held',
				href,
				text: t('need.paused', {destination: lane.name}),
				more: h(
					'span',
					known(`pause.${lane.paused.cause}`, lane.paused.cause),
					' · ',
					isolated([lane.paused.who, lane.paused.why].filter(Boolean).join(': ')),
					' · ',
					when(lane.paused.at),
				),
			};
		else if (lane.waits_for === 'breaker')
			yield {
				key: `broken-${lane.name}`,
				tone: 'warn',
				icon: 'warn',
				href,
				text: t('need.broken', {destination: lane.name}),
				more: t('need.waiting', {n: lane.waiting, count: number(lane.waiting)}),
			};
	}
}

function* causes({incidents}) {
	// What has nothing undelivered any more is over, and closed at the next look of the node.
	for (const incident of incidents.filter(one => one.state === 'open' && one.open > 0)) {
		yield {
			key: incident.id,
			tone: 'warn',
			icon: 'failed',
			href: `#/incidents?id=${incident.id}`,
			text: t('need.incident', {n: incident.open, count: number(incident.open), destination: incident.destination}),
			more: h('span', isolated(incident.reason), ' · ', t('need.since'), ' ', moment(incident.first_at)),
		};
	}
}

function* channels({alerts}) {
	for (const rule of alerts.filter(one => one.state === 'failing')) {
		yield {
			key: `alert-${rule.number}`,
			tone: 'bad',
			icon: 'warn',
			href: '#/system',
			text: t('need.alert', {channel: rule.channel}),
			more: isolated(rule.last_error ?? ''),
		};
	}
}

function figures({stats, lanes: all}) {
	const sum = name => stats.destinations.reduce((total, one) => total + one[name], 0);
	const oldest = all
		.map(lane => lane.oldest)
		.filter(Boolean)
		.sort()[0];
	const figure = (name, value, href, more = null) => h('a.figure', {href}, h('span', name), h('b', value), more && h('small', more));
	return h(
		'section.figures',
		{'aria-label': t('figures')},
		figure(t('state.queued'), brief(sum('queued')), link({state: 'queued'})),
		figure(t('state.sending'), brief(stats.sending), link({state: 'sending'})),
		figure(t('state.failed'), brief(sum('failed')), link({state: 'failed'})),
		figure(t('state.abandoned'), brief(sum('abandoned')), link({state: 'abandoned'})),
		figure(t('state.delivered'), brief(sum('delivered')), link({state: 'delivered'})),
		figure(t('figure.oldest'), oldest ? span(Date.now() - Date.parse(oldest)) : '–', '#/destinations'),
	);
}

function charts({minutes, due}) {
	const of = (name, all = minutes) => all.map(minute => minute[name]);
	const total = values => values.reduce((sum, value) => sum + (value ?? 0), 0);
	const times = of('at');
	const [accepted, delivered, p50, p95] = ['accepted', 'delivered', 'latency_p50_ms', 'latency_p95_ms'].map(name => of(name));
	const latest = [p50, p95].map(values => values.findLast(value => value !== null));
	const retries = of('messages', due);
	return [
		chart(t('chart.flow'), t('chart.flow.says', {accepted: total(accepted), delivered: total(delivered)}), times, [
			{name: t('chart.accepted'), tone: 'tone-a', values: accepted, show: counting},
			{name: t('chart.delivered'), tone: 'tone-b', values: delivered, show: counting},
		]),
		chart(
			t('chart.latency'),
			latest[0] === undefined ? t('chart.nothing') : t('chart.latency.says', {p50: span(latest[0]), p95: span(latest[1] ?? latest[0])}),
			times,
			[
				{name: 'p50', tone: 'tone-b', values: p50, show: span},
				{name: 'p95', tone: 'tone-c', values: p95, show: span},
			],
		),
		chart(t('chart.due'), t('chart.due.says', {n: total(retries), count: number(total(retries))}), of('at', due), [
			{name: t('chart.retries'), tone: 'tone-c', kind: 'bars', values: retries, show: counting},
		]),
	];
}
