// What this browser remembers of a person's choices; where it may not, they last as long as the page.

/** @param {string} name @param {string} value */
export function remember(name, value) {
	try {
		localStorage.setItem(`goniec-${name}`, value);
	} catch {
		/* a browser may forbid to remember */
	}
}

/** @param {string} name */
export function remembered(name) {
	try {
		return localStorage.getItem(`goniec-${name}`);
	} catch {
		return null;
	}
}
