/** The claims of a token as they stand, unverified: good for a heading or a link, and for nothing else. */

export function claimsOf(token) {
  try {
    const base64 = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    return JSON.parse(atob(base64)) ?? {}; // tenants, users and rooms are ASCII
  } catch {
    return {};
  }
}

/** Whether the token is for the console. */
export const administers = (token) => (claimsOf(token).scope ?? '').split(' ').some((scope) => ['admin', 'platform'].includes(scope));
