// The sync cycles: which destinations go by a timetable, when the next one begins, what waits for it, and the hand that begins it now.

import {h} from './h.js';
import {get, may} from './api.js';
import {number, t} from './words.js';
import {button, code, complain, empty, moment, notice, table, when} from './parts.js';
import {laneLink, steer} from './destinations.js';

export function cycles(here) {
	let lanes = [];

	async function load(signal) {
		const all = (await get('/v1/destinations', signal)).destinations;
		lanes = all.filter(lane => lane.cycle).sort((one, other) => String(one.cycle_at ?? '~').localeCompare(String(other.cycle_at ?? '~')));
	}

	function view() {
		if (!lanes.length) return empty(t('cycles.none'), h('p.quiet', t('cycles.how')));
		return table(
			t('page.cycles'),
			[
				{name: t('col.destination'), kind: 'name', cell: lane => laneLink(lane.name)},
				{name: t('col.cycle'), cell: lane => code(lane.cycle)},
				{
					name: t('col.next'),
					cell: lane =>
						lane.cycle_at ? h('span', when(lane.cycle_at), h('small', moment(lane.cycle_at))) : lane.paused ? t('lane.paused') : '–',
				},
				{name: t('col.waiting'), kind: 'number', cell: lane => number(lane.waiting)},
				{name: t('col.oldest'), cell: lane => when(lane.oldest)},
				...(may('operate')
					? [
							{
								name: t('actions'),
								kind: 'hands',
								cell: lane =>
									button(
										t('act.cycle'),
										() =>
											steer(lane.name, 'cycle').then(() => {
												notice(t('cycle.done', {destination: lane.name}));
												here.reload();
											}, complain),
										{'aria-label': t('cycle.of', {destination: lane.name})},
									),
							},
						]
					: []),
			],
			lanes,
			{key: lane => lane.name},
		);
	}

	return {title: () => t('page.cycles'), load, view};
}
