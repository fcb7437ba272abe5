// The frame of the console: language, theme, who is asking, which page is open, and what keeps it current.

import {h, patch} from './h.js';
import {change, me, whoami} from './api.js';
import {follow, liveState, restart, togglePause} from './live.js';
import {LANGUAGES, speak, spoken, t} from './words.js';
import {button, icon, refusal} from './parts.js';
import {help, onKey} from './keyboard.js';
import {remember, remembered} from './memory.js';
import {byCode, login} from './login.js';
import {now} from './now.js';
import {messages} from './messages.js';
import {message} from './message.js';
import {keys} from './keys.js';
import {destinations} from './destinations.js';
import {incidents} from './incidents.js';
import {cycles} from './cycles.js';
import {audit} from './audit.js';
import {system} from './system.js';

/** The pages by the first word of their address; those with a letter stand in the list. */
const PAGES = {
	now: {page: now, letter: 'n'},
	messages: {page: messages, letter: 'm'},
	keys: {page: keys, letter: 'k'},
	destinations: {page: destinations, letter: 'd'},
	incidents: {page: incidents, letter: 'i'},
	cycles: {page: cycles, letter: 'c'},
	audit: {page: audit, letter: 'a'},
	system: {page: system, letter: 's'},
	message: {page: message, of: 'messages'},
};

/** What is slow to change is looked at so often, also where events come. */
const LOOK_MS = 10_000;

let open = null;
let loading = new AbortController();
let isLoading = false;
let again = false;

/** Where the address leads: `#/messages?filter=...`. */
function place() {
	const [path, search = ''] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s);
	const [name, ...rest] = path.split('/').map(part => {
		try {
			return decodeURIComponent(part);
		} catch {
			return part;
		}
	});
	return {name: Object.hasOwn(PAGES, name) ? name : 'now', rest, params: new URLSearchParams(search)};
}

function turnTo() {
	if (me.needs_login && !me.name) return askLogin();
	isAsking = false;
	const {name, rest, params} = place();
	loading.abort();
	loading = new AbortController();
	isLoading = again = false;
	open?.page.close?.();
	const here = {name, rest, params, redraw: draw, reload: load};
	open = {name, page: PAGES[name].page(here), problem: null, loaded: false};
	draw();
	window.scrollTo(0, 0);
	// Where the link that led here is gone, reading begins at the page.
	if (document.activeElement === document.body) document.getElementById('main')?.focus({preventScroll: true});
	load();
}

/** Reads what the page shows, then draws it. Two reads never run at once. */
async function load() {
	if (isLoading) {
		again = true;
		return;
	}
	isLoading = true;
	const opened = open;
	const {signal} = loading;
	try {
		await opened.page.load?.(signal);
		opened.problem = null;
		opened.loaded = true;
	} catch (problem) {
		if (signal.aborted || problem.status === 401) return;
		opened.problem = problem;
	} finally {
		if (!signal.aborted) isLoading = false;
	}
	if (open !== opened) return;
	draw();
	if (again) {
		again = false;
		load();
	}
}

function draw() {
	if (!open) return;
	const {page, problem, loaded} = open;
	document.title = `${page.title()} · goniec`;
	const shown = loaded ? viewed(page) : !problem && h('p.quiet', t('loading'));
	const main = h(
		'main',
		{
			id: 'main',
			tabindex: '-1',
			'data-key': location.hash.split('?')[0],
			'data-at': location.hash,
			'aria-busy': loaded || problem ? null : 'true',
		},
		h('div.head', h('h1', page.title()), page.tools?.()),
		problem && h('div', {'data-key': 'problem'}, refusal(problem, load)),
		[shown],
	);
	patch(document.getElementById('shell'), [skip(), bar(), navigation(), main]);
}

/** What the page shows; a node of another version may answer what it cannot draw. */
function viewed(page) {
	try {
		return page.view();
	} catch (error) {
		return refusal({title: t('failed'), detail: String(error)});
	}
}

const skip = () =>
	h(
		'a.skip',
		{
			href: '#main',
			onclick: event => {
				event.preventDefault();
				document.getElementById('main')?.focus();
			},
		},
		t('skip'),
	);

function navigation() {
	const current = PAGES[open.name].of ?? open.name;
	const links = Object.entries(PAGES)
		.filter(([, {letter}]) => letter)
		.map(([name, {letter}]) =>
			h('li', h('a', {href: `#/${name}`, 'aria-current': name === current ? 'page' : null, title: `g ${letter}`}, t(`page.${name}`))),
		);
	return h('nav', {'aria-label': t('pages')}, h('ul', links));
}

function bar() {
	const state = liveState();
	const live = h(
		'button.live',
		{type: 'button', class: state, 'aria-pressed': String(state !== 'paused'), onclick: () => togglePause()},
		h('span.dot', {'aria-hidden': 'true'}),
		t(`live.${state}`),
	);
	const language = LANGUAGES.map(one =>
		button(one.toUpperCase(), () => choose(one), {lang: one, 'aria-pressed': String(one === spoken())}),
	);
	const theme = document.documentElement.dataset.theme ?? 'auto';
	return h(
		'header.bar',
		h('a.brand', {href: '#/now'}, h('span', 'goniec'), h('small', location.host)),
		h(
			'div.row',
			live,
			h('div.pair', {role: 'group', 'aria-label': t('language')}, language),
			button(t(`theme.${theme}`), nextTheme, {title: t('theme')}),
			button('?', () => help(letters()), {'aria-label': t('help'), title: t('help')}),
			me.name && me.needs_login && h('span.who', icon('info'), `${me.name} · ${t(`role.${me.role}`)}`),
			me.name && me.needs_login && button(t('logout'), leave),
		),
	);
}

const letters = () =>
	Object.fromEntries(
		Object.entries(PAGES)
			.filter(([, {letter}]) => letter)
			.map(([name, {letter}]) => [letter, name]),
	);

async function leave() {
	await change('POST', '/v1/logout');
	await whoami();
	turnTo();
}

let isAsking = false;

function askLogin() {
	// A form that somebody types into is not drawn anew.
	if (isAsking) return;
	isAsking = true;
	loading.abort();
	open?.page.close?.();
	open = null;
	login(async () => {
		isAsking = false;
		await whoami();
		restart();
		turnTo();
	});
}

async function choose(language) {
	await speak(language);
	remember('language', language);
	open ? draw() : turnTo();
}

function nextTheme() {
	const all = ['auto', 'light', 'dark'];
	setTheme(all[(all.indexOf(document.documentElement.dataset.theme ?? 'auto') + 1) % all.length]);
	draw();
}

function setTheme(theme) {
	if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
	else delete document.documentElement.dataset.theme;
	remember('theme', theme);
}

async function begin() {
	const asked = new URLSearchParams(location.search);
	const language = [asked.get('lang'), remembered('language'), ...navigator.languages.map(one => one.slice(0, 2)), 'en'].find(
		one => one && LANGUAGES.includes(one),
	);
	setTheme(asked.get('theme') ?? remembered('theme') ?? 'auto');
	await Promise.all([speak(language ?? 'en'), whoami()]);
	await byCode();
	addEventListener('hashchange', async () => {
		if (await byCode()) restart();
		turnTo();
	});
	addEventListener('goniec-login', async () => {
		await whoami();
		turnTo();
	});
	document.addEventListener('keydown', event => onKey(event, letters(), open?.page.keys ?? {}));
	turnTo();
	follow(batch => {
		if (open && (batch === null || !open.page.concerns || open.page.concerns(batch))) load();
	}, draw);
	setInterval(() => {
		if (open && !document.hidden && liveState() !== 'paused') load();
	}, LOOK_MS);
}

begin().catch(problem => {
	document.getElementById('main')?.append(refusal(problem, () => location.reload()));
});
