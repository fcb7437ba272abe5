// What this browser remembers of a person's choices; where it may not, they last as long as the page.

export function remember(name, value) {
	try {
		localStorage.setItem(`goniec-${name}`, value);
	} catch {
		/* a browser may forbid to remember */
	}
}

export function remembered(name) {
	try {
		return localStorage.getItem(`goniec-${name}`);
	} catch {
		return null;
	}
}
