// Requests to our own server: the CSRF token on every write, and a refusal as one readable error.

/** A grant is renewed at most this often, and so many times in a row: a player never becomes a load test. */
export const RENEW_MS = 4000;
export const RENEWALS_MAX = 20;

/** What the server refused, from its problem+json. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

/** Sent with every write, the upload's included. */
export function writeHeaders(): Record<string, string> {
  const token = document.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content ?? '';
  return token === '' ? {} : { 'X-CSRF-Token': token };
}

export async function readJson<T>(path: string): Promise<T> {
  return (await asked(path, { headers: { Accept: 'application/json' } })).json() as Promise<T>;
}

export async function readBytes(path: string): Promise<ArrayBuffer> {
  return (await asked(path, { headers: { Accept: 'application/octet-stream' } })).arrayBuffer();
}

export async function post(path: string): Promise<void> {
  await asked(path, { method: 'POST', headers: writeHeaders() });
}

async function asked(path: string, init: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, { ...init, credentials: 'same-origin' });
  } catch {
    throw new Refused(0, 'offline', 'The server can’t be reached.');
  }
  if (!answer.ok) throw refusal(answer.status, await answer.text());
  return answer;
}

/** The reason in an error's body, or one made from the status. */
export function refusal(status: number, body: string): Refused {
  let code = `http_${status}`;
  let detail = fallback(status);
  try {
    const problem = JSON.parse(body) as { code?: unknown; detail?: unknown; title?: unknown };
    if (typeof problem.code === 'string') code = problem.code;
    if (typeof problem.detail === 'string' && problem.detail !== '') detail = problem.detail;
    else if (typeof problem.title === 'string' && problem.title !== '') detail = problem.title;
  } catch {
    // Not JSON: a proxy's page. The status says enough.
  }
  return new Refused(status, code, detail);
}

function fallback(status: number): string {
  if (status === 401) return 'You are signed out. Sign in again, then go on: nothing is lost.';
  if (status === 403) return 'The server refused this. Reload the page, then go on: nothing is lost.';
  if (status === 413) return 'This file is larger than the server accepts.';
  if (status === 507) return 'The server’s disk is full. What has arrived is safe; go on once there is room.';
  if (status >= 500) return 'The server can’t take this right now. What has arrived is safe.';
  return `The server answered ${status}.`;
}
