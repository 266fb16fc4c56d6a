// Texts in the language of the page. The English text is the message's name; the translations come
// with the page, as JSON in #messages, where it is in another language.

const page = globalThis.document;  // tests load modules without a page

/** The language of the page, such as "de": for dates and numbers too. */
export const language = page?.documentElement.lang || "en";

/** @type {Record<string, string | string[]>} */
const messages = JSON.parse(page?.getElementById("messages")?.textContent || "{}");
const plurals = new Intl.PluralRules(language);

/** @typedef {Record<string, string | number>} Values */

/** A text; `%(name)s` in it stands for a value of that name.
    @param {string} message  @param {Values} [values] */
export function _(message, values) {
  const found = messages[message];
  return filled(typeof found === "string" ? found : message, values);
}

/** A text that is another word elsewhere; `context` says which one it is.
    @param {string} context  @param {string} message  @param {Values} [values] */
export function pgettext(context, message, values) {
  const found = messages[`${context}\u0004${message}`];
  return filled(typeof found === "string" ? found : message, values);
}

/** One of two texts by a number, which they name `%(num)s`.
    @param {string} singular  @param {string} plural  @param {number} number  @param {Values} [values] */
export function ngettext(singular, plural, number, values) {
  const forms = messages[singular];
  const text = Array.isArray(forms)
    ? forms[plurals.select(number) === "one" ? 0 : 1]
    : number === 1 ? singular : plural;
  return filled(text, { num: numberText(number), ...values });
}

/** A number as the page's language writes it.
    @param {number} number  @param {number} [decimals] exactly so many places behind the point */
export function numberText(number, decimals) {
  const places = decimals === undefined ? {} : { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return new Intl.NumberFormat(language, places).format(number);
}

/** @param {string} text  @param {Values} [values] */
function filled(text, values) {
  if (!values) return text;
  return text.replace(/%(?:\((\w+)\)s|%)/g, (whole, name) => name === undefined ? "%" : String(values[name] ?? whole));
}
