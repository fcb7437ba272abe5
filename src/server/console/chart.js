// Charts of a few lines or bars, drawn by hand: each with a sentence that says what it shows, and its numbers as a table.

import {h} from './h.js';
import {brief, clock, t} from './words.js';

const [WIDE, HIGH, LEFT, BELOW, ABOVE] = [360, 150, 44, 20, 8];

/** @typedef {{name: string, tone: string, values: (number | null)[], kind?: 'line' | 'bars', show: (value: number) => string}} Series */

/**
 * summary: what the chart shows, in a sentence
 * times: one for each value
 */
export function chart(title, summary, times, series) {
	const top = rounded(Math.max(1, ...series.flatMap(one => one.values.map(value => value ?? 0))));
	const x = at => LEFT + (at * (WIDE - LEFT - 4)) / Math.max(1, times.length - 1);
	const y = value => HIGH - BELOW - (value / top) * (HIGH - BELOW - ABOVE);
	const lines = [0, 0.5, 1].map(part =>
		h(
			'g',
			h('line.grid', {x1: LEFT, x2: WIDE, y1: y(top * part), y2: y(top * part)}),
			h('text', {x: LEFT - 6, y: y(top * part) + 4, 'text-anchor': 'end'}, series[0].show(top * part)),
		),
	);
	const marks = [0, Math.floor((times.length - 1) / 2), times.length - 1].map((at, index) =>
		h('text', {x: x(at), y: HIGH - 4, 'text-anchor': ['start', 'middle', 'end'][index]}, clock(times[at]).slice(0, -3)),
	);
	const picture = h(
		'svg.chart',
		{viewBox: `0 0 ${WIDE} ${HIGH}`, 'aria-hidden': 'true', focusable: 'false'},
		lines,
		marks,
		series.map(one => (one.kind === 'bars' ? bars(one, x, y, times.length) : line(one, x, y))),
	);
	const legend =
		series.length > 1 &&
		h(
			'ul.legend',
			series.map((one, at) =>
				h(
					'li',
					h(
						'svg.swatch',
						{viewBox: '0 0 20 8', 'aria-hidden': 'true'},
						h('line', {x1: 0, x2: 20, y1: 4, y2: 4, class: `${one.tone} dash${at}`}),
					),
					one.name,
				),
			),
		);
	return h(
		'figure',
		{'data-key': title},
		h('figcaption', h('h2', title), h('p.quiet', summary)),
		picture,
		legend,
		twin(title, times, series),
	);
}

/** The numbers, for who does not see the picture or wants them exactly. */
function twin(title, times, series) {
	const head = h(
		'tr',
		h('th', {scope: 'col'}, t('col.time')),
		series.map(one => h('th.number', {scope: 'col'}, one.name)),
	);
	const rows = times.map((at, index) =>
		h(
			'tr',
			h('th', {scope: 'row'}, clock(at)),
			series.map(one => h('td.number', one.values[index] === null ? '–' : one.show(Number(one.values[index])))),
		),
	);
	return h(
		'details.twin',
		h('summary', t('chart.table')),
		h(
			'div.scroll',
			{tabindex: '0', role: 'region', 'aria-label': title},
			h('table', h('caption.unseen', title), h('thead', head), h('tbody', rows)),
		),
	);
}

/** A line that has gaps where nothing is known. */
function line(one, x, y) {
	let isDrawing = false;
	const path = one.values.map((value, at) => {
		if (value === null) {
			isDrawing = false;
			return '';
		}
		const point = `${isDrawing ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
		isDrawing = true;
		// A single value is a dot.
		return one.values[at + 1] === null || at === one.values.length - 1 ? `${point}h.1` : point;
	});
	return h('path', {d: path.join(''), class: `line ${one.tone}`});
}

function bars(one, x, y, count) {
	const wide = Math.max(1.5, (WIDE - LEFT) / count - 2);
	return h(
		'g',
		one.values.map(
			(value, at) =>
				value &&
				h('rect', {
					x: Math.max(LEFT, x(at) - wide / 2).toFixed(1),
					y: Math.min(y(value), y(0) - 1.5).toFixed(1),
					width: wide.toFixed(1),
					height: Math.max(1.5, y(0) - y(value)).toFixed(1),
					class: one.tone,
				}),
		),
	);
}

/** The next number that is easy to read. */
function rounded(value) {
	const power = 10 ** Math.floor(Math.log10(value));
	return ([1, 2, 4, 5, 10].find(step => step * power >= value) ?? 10) * power;
}

export const counting = value => brief(Math.round(value * 10) / 10);
