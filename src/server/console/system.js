// The node itself: version, time since its start, store and disk, who is told of trouble, and the jobs.

import {h} from './h.js';
import {change, get, may, maybe, me, piece} from './api.js';
import {exactly, number, size, span, t} from './words.js';
import {button, code, complain, empty, facts, isolated, mark, notice, table, when} from './parts.js';

export function system(here) {
	const state = {stats: null, alerts: null, jobs: null};

	async function load(signal) {
		const [stats, alerts, jobs] = await Promise.all([get('/v1/stats', signal), maybe('/v1/alerts', signal), maybe('/v1/bulk', signal)]);
		Object.assign(state, {stats, alerts: alerts?.rules ?? null, jobs: jobs?.jobs ?? null});
	}

	function node() {
		const {stats} = state;
		const {used_bytes: used, free_bytes: free, reserve_bytes: reserve} = stats.store;
		const short = free !== null && free < reserve;
		return facts([
			[t('sys.version'), code(stats.version)],
			[t('sys.started'), h('span', exactly(stats.started_at), ' (', span(Date.now() - Date.parse(stats.started_at)), ')')],
			[t('sys.store'), size(used)],
			[
				t('sys.free'),
				h(
					'span.row',
					size(free),
					short ? mark('bad', 'warn', t('sys.short')) : mark('ok', 'delivered', t('sys.enough')),
					h('span.quiet', t('sys.reserve', {size: size(reserve)})),
				),
			],
			[t('sys.accepted'), number(stats.accepted)],
			[t('sys.delivered'), number(stats.delivered)],
			[t('sys.latency'), stats.commit_ms === undefined ? null : span(stats.commit_ms)],
			[
				t('sys.damaged'),
				stats.damaged?.length
					? h(
							'ul',
							stats.damaged.map(text => h('li', isolated(text))),
						)
					: null,
			],
		]);
	}

	const test = rule =>
		change('POST', `/v1/alerts/${piece(rule.number)}/test`).then(said => {
			notice(said.is_told ? t('alert.told', {channel: rule.channel}) : (said.error ?? t('failed')), said.is_told ? 'ok' : 'bad');
			here.reload();
		}, complain);

	function alerts() {
		if (state.alerts === null) return h('p.quiet', t('absent'));
		if (!state.alerts.length) return empty(t('alerts.none'));
		return table(
			t('alerts'),
			[
				{
					name: t('alert.channel'),
					kind: 'name',
					cell: rule =>
						h(
							'span',
							isolated(rule.channel),
							h('span.under', rule.state === 'failing' ? mark('bad', 'warn', t('alert.failing')) : mark('ok', 'delivered', t('alert.ok'))),
						),
				},
				{name: t('alert.on'), kind: 'wide', cell: rule => (rule.on?.length ? rule.on.join(', ') : t('alert.everything'))},
				{
					name: t('page.destinations'),
					kind: 'wide',
					cell: rule => (rule.destinations?.length ? isolated(rule.destinations.join(', ')) : t('state.all')),
				},
				{
					name: t('alert.digest'),
					cell: rule => h('span', span(rule.digest_ms ?? 0), rule.quiet_until && h('small', t('alert.quiet'), ' ', when(rule.quiet_until))),
				},
				{
					name: t('alert.last'),
					cell: rule =>
						h('span', when(rule.last_told_at), rule.last_error && h('small', isolated(rule.last_error), ' ', when(rule.failing_since))),
				},
				...(may('operate')
					? [
							{
								name: t('actions'),
								kind: 'hands',
								cell: rule => button(t('alert.test'), () => test(rule), {'aria-label': t('alert.test.of', {channel: rule.channel})}),
							},
						]
					: []),
			],
			state.alerts,
			{key: rule => String(rule.number)},
		);
	}

	function jobs() {
		if (state.jobs === null) return h('p.quiet', t('absent'));
		if (!state.jobs.length) return empty(t('none'));
		const tones = {running: ['info', 'sending'], done: ['ok', 'delivered'], cancelled: ['calm', 'abandoned'], failed: ['bad', 'warn']};
		return table(
			t('jobs'),
			[
				{
					name: t('job'),
					kind: 'name',
					cell: job =>
						h('span', `${job.id} `, mark(tones[job.state]?.[0] ?? 'info', tones[job.state]?.[1] ?? 'info', t(`job.${job.state}`))),
				},
				{name: t('audit.act'), cell: job => t(`act.${job.action}`)},
				{name: t('filter.label'), kind: 'wide', cell: job => code(job.filter || t('state.all'))},
				{name: t('audit.who'), cell: job => h('span', isolated(job.who), job.why && h('small', isolated(job.why)))},
				{name: t('job.progress'), kind: 'number', cell: job => `${number(job.done)} / ${job.matched === null ? '…' : number(job.matched)}`},
				{name: t('col.time'), cell: job => when(job.ended_at ?? job.begun_at)},
				...(may('operate')
					? [
							{
								name: t('actions'),
								kind: 'hands',
								cell: job =>
									job.state === 'running' &&
									button(t('cancel'), () => change('DELETE', `/v1/bulk/${piece(job.id)}`).then(() => here.reload(), complain)),
							},
						]
					: []),
			],
			state.jobs,
			{key: job => job.id},
		);
	}

	const who = () => h('p.quiet', me.needs_login ? t('sys.who', {name: me.name ?? '', role: t(`role.${me.role}`)}) : t('sys.open'));

	const view = () => [
		who(),
		h('section', h('h2', t('sys.node')), node()),
		h('section', h('h2', t('alerts')), alerts()),
		h('section', h('h2', t('jobs')), jobs()),
	];

	return {title: () => t('page.system'), load, view};
}
