// Whether both sides have the same: one line for each comparison, and the hand that compares anew or sends again what is missing.

import {h} from './h.js';
import {change, may, piece, query} from './api.js';
import {number, t} from './words.js';
import {ask, button, complain, isolated, mark, notice, table, when} from './parts.js';

const LOOKS = {
	behind: ['bad', 'warn'],
	conflicting: ['bad', 'warn'],
	incomplete: ['warn', 'warn'],
	'in-sync': ['ok', 'delivered'],
	'unknown-here': ['info', 'info'],
	unread: ['warn', 'warn'],
	unknown: ['calm', 'info'],
};

/** The comparisons, as a section. */
export function agreement(all, reload) {
	const tell = (name, what, more) => change('POST', `/v1/reconcile/${piece(name)}/${what}${query(more)}`);
	const done = text => () => {
		notice(text);
		reload();
	};

	/** Sends what is missing again, after it was counted. */
	function queue(one) {
		const count = one.missing.count + one.stale.count;
		ask(t('agree.queue', {name: one.name}), [h('p', t('agree.count', {n: count, count: number(count)}))], {
			submit: t('agree.send'),
			done: () => tell(one.name, 'queue', {count, at: one.at}).then(done(t('agree.sent', {name: one.name}))),
		});
	}

	const side = what => ({
		name: t(`agree.${what}`),
		kind: 'number',
		cell: one => h('span', number(one[what].count), one[what].oldest_at && h('small', when(one[what].oldest_at))),
	});
	const columns = [
		{
			name: t('col.compared'),
			kind: 'name',
			cell: one => h('span', isolated(one.name), h('span.under', mark(...(LOOKS[one.state] ?? LOOKS.unknown), t(`agree.is.${one.state}`)))),
		},
		{
			name: t('agree.behind'),
			kind: 'wide',
			cell: one =>
				h('span', when(one.behind_since), (one.asks || one.failure) && h('small', isolated(one.asks ?? one.failure.why))),
		},
		...['missing', 'stale', 'conflicting', 'unexpected'].map(side),
		{name: t('agree.at'), cell: one => when(one.at)},
	];
	const hands = one =>
		h(
			'div.row',
			button(t('agree.run'), () => tell(one.name, 'run').then(done(t('agree.runs', {name: one.name})), complain), {
				'data-act': 'compare',
				'aria-label': t('agree.run.of', {name: one.name}),
			}),
			one.can_queue &&
				one.missing.count + one.stale.count > 0 &&
				button(t('agree.send'), () => queue(one), {'data-act': 'queue', 'aria-label': t('agree.queue', {name: one.name})}),
		);
	if (may('operate')) columns.push({name: t('actions'), kind: 'hands', cell: hands});
	return [h('h2', t('agree')), table(t('agree'), columns, all, {key: one => one.name})];
}
