import { distance } from 'fastest-levenshtein';

/** Spellings that differ only in this way are the same word to a person: `allowedOutboundHosts`, `allowed-outbound-hosts`. */
const folded = (word: string): string => word.toLowerCase().replaceAll(/[-_\s]/g, '');

/**
 * Typing errors that still count as the same word: one for each three letters begun. Two letters that changed places
 * are two of them (`hots`), and `cpu` must not become `env`.
 */
const allowedEdits = (word: string): number => Math.ceil(word.length / 3);

/** The candidate that `word` was probably meant to be, or undefined when none is near. Case and separators count little. */
export const suggest = (word: string, candidates: readonly string[]): string | undefined => {
  const wanted = folded(word);
  let best: string | undefined;
  let bestEdits = allowedEdits(wanted) + 1;
  for (const candidate of candidates) {
    const edits = distance(wanted, folded(candidate));
    if (edits < bestEdits) [best, bestEdits] = [candidate, edits];
  }
  return best;
};

/** `; did you mean "x"?`, or nothing when no candidate is near: appended to messages. */
export const didYouMean = (word: string, candidates: readonly string[]): string => {
  const near = suggest(word, candidates);
  return near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`;
};
