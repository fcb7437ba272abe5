// The audit log: who did what, when and why, newest first; and whether the chain of its entries is whole.

import {h} from './h.js';
import {get, maybe, query} from './api.js';
import {known, number, t} from './words.js';
import {absent, button, code, complain, empty, isolated, mark, messageLink, moment, table} from './parts.js';
import {laneLink} from './destinations.js';

export function audit(here) {
	const cursor = here.params.get('cursor');
	let found = null;
	let verdict = null;

	async function load(signal) {
		found = await maybe(`/v1/audit${query({limit: 100, cursor})}`, signal);
	}

	const target = ({target: what}) => {
		if (!what) return '–';
		if (what.message) return messageLink(what.message);
		if (what.destination) return laneLink(what.destination);
		return code(what.job ? t('job.title', {id: what.job}) : what.token);
	};

	const tools = () =>
		found &&
		button(t('audit.verify'), () =>
			get('/v1/audit/verify').then(said => {
				verdict = said;
				here.redraw();
			}, complain),
		);

	function view() {
		if (found === null) return absent();
		const said =
			verdict &&
			h(
				'p',
				{role: 'status'},
				verdict.is_sound
					? mark('ok', 'delivered', t('audit.sound', {n: verdict.entries, count: number(verdict.entries)}))
					: mark('bad', 'warn', t('audit.wrong', {number: verdict.wrong?.number ?? 0})),
				verdict.wrong && h('span', ' ', isolated(verdict.wrong.what)),
			);
		if (!found.entries.length) return [said, empty(t('none'))];
		return [
			said,
			table(
				t('page.audit'),
				[
					{name: '#', kind: 'number', cell: entry => String(entry.number)},
					{name: t('col.time'), cell: entry => moment(entry.at)},
					{name: t('audit.who'), cell: entry => isolated(entry.who)},
					{name: t('audit.act'), kind: 'name', cell: entry => known(`act.${entry.act}`, known(`audit.${entry.act}`, entry.act))},
					{name: t('audit.target'), cell: entry => h('span', target(entry), entry.key && h('small', code(entry.key)))},
					{
						name: t('audit.detail'),
						kind: 'wide',
						cell: entry =>
							h(
								'span',
								isolated(entry.detail ?? ''),
								entry.after && h('small', code(entry.before), ' → ', code(entry.after)),
								entry.messages.length > 1 &&
									h('small', t('audit.messages', {n: entry.messages.length, count: number(entry.messages.length)})),
							),
					},
				],
				found.entries,
				{key: entry => String(entry.number)},
			),
			h(
				'div.row.pager',
				cursor && h('a.button', {href: '#/audit'}, t('newest')),
				found.next && h('a.button', {href: `#/audit${query({cursor: found.next})}`}, t('older')),
				found.head && h('p.quiet', t('audit.head'), ' ', code(String(found.head.hash).slice(0, 16), found.head.hash)),
			),
		];
	}

	return {title: () => t('page.audit'), load, view, tools, concerns: () => !cursor};
}
