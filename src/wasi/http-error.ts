/** wasi:http/types `error-code`, as far as thaw produces it; guests may lower any case of it. */

type NoPayload =
  | 'DNS-timeout'
  | 'destination-not-found'
  | 'destination-unavailable'
  | 'destination-IP-prohibited'
  | 'destination-IP-unroutable'
  | 'connection-refused'
  | 'connection-terminated'
  | 'connection-timeout'
  | 'connection-read-timeout'
  | 'connection-write-timeout'
  | 'connection-limit-reached'
  | 'TLS-protocol-error'
  | 'TLS-certificate-error'
  | 'HTTP-request-denied'
  | 'HTTP-request-length-required'
  | 'HTTP-request-method-invalid'
  | 'HTTP-request-URI-invalid'
  | 'HTTP-request-URI-too-long'
  | 'HTTP-response-incomplete'
  | 'HTTP-response-timeout'
  | 'HTTP-upgrade-failed'
  | 'HTTP-protocol-error'
  | 'loop-detected'
  | 'configuration-error';

export type ErrorCode =
  | { readonly tag: NoPayload }
  | { readonly tag: 'DNS-error'; readonly val: { readonly rcode?: string; readonly infoCode?: number } }
  | { readonly tag: 'TLS-alert-received'; readonly val: { readonly alertId?: number; readonly alertMessage?: string } }
  | { readonly tag: 'HTTP-request-body-size' | 'HTTP-response-body-size'; readonly val?: bigint }
  | { readonly tag: 'HTTP-response-header-section-size'; readonly val?: number }
  | { readonly tag: 'internal-error'; readonly val?: string };

const UNDICI_CODES: Readonly<Record<string, ErrorCode>> = {
  ECONNREFUSED: { tag: 'connection-refused' },
  ECONNRESET: { tag: 'connection-terminated' },
  EPIPE: { tag: 'connection-terminated' },
  UND_ERR_SOCKET: { tag: 'connection-terminated' },
  UND_ERR_ABORTED: { tag: 'connection-terminated' },
  ETIMEDOUT: { tag: 'connection-timeout' },
  UND_ERR_CONNECT_TIMEOUT: { tag: 'connection-timeout' },
  UND_ERR_HEADERS_TIMEOUT: { tag: 'HTTP-response-timeout' },
  UND_ERR_BODY_TIMEOUT: { tag: 'connection-read-timeout' },
  UND_ERR_HEADERS_OVERFLOW: { tag: 'HTTP-response-header-section-size' },
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: { tag: 'HTTP-response-incomplete' },
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: { tag: 'HTTP-request-body-size' },
  ENETUNREACH: { tag: 'destination-IP-unroutable' },
  EHOSTUNREACH: { tag: 'destination-unavailable' },
  EADDRNOTAVAIL: { tag: 'destination-unavailable' },
  ENOTFOUND: { tag: 'DNS-error', val: { rcode: 'NXDOMAIN' } },
  EAI_AGAIN: { tag: 'DNS-timeout' },
  UND_ERR_INVALID_ARG: { tag: 'HTTP-request-URI-invalid' },
};

/** The error code for a failure of undici or of the socket below it. */
export function errorCodeOf(failure: unknown): ErrorCode {
  for (let error = failure; error instanceof Error; error = error.cause) {
    const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
    const known = UNDICI_CODES[code];
    if (known !== undefined) return known;
    // undici's parser gives most of its errors no code.
    if (error.name === 'HTTPParserError') return { tag: 'HTTP-protocol-error' };
    if (code.startsWith('ERR_TLS_') || /CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code))
      return { tag: 'TLS-certificate-error' };
    if (code.startsWith('ERR_SSL_') || code === 'EPROTO') return { tag: 'TLS-protocol-error' };
  }
  return { tag: 'internal-error', val: failure instanceof Error ? failure.message : String(failure) };
}
