import { useEffect, useRef } from "preact/hooks";
import { help } from "../state";

const KEYS: [string, [string, string][]][] = [
  [
    "Looking",
    [
      ["Arrows", "move; with Shift further"],
      ["+ −", "nearer, farther"],
      ["F", "the whole slide"],
      ["1 … 6", "1.25x, 2.5x, 5x, 10x, 20x, 40x"],
      ["[ ]", "previous, next slide"],
      ["/", "search slides; Shift+Enter opens one beside"],
      ["K, X", "move slides together or alone; close one"],
      ["T", "next panel; with Shift the previous"],
      ["O", "show or hide all layers"],
      ["S", "save the view as a picture"],
    ],
  ],
  [
    "A model's findings",
    [
      ["N P", "next, previous region of interest"],
      ["Y U", "what was clicked is right, is wrong"],
      ["C", "it is of the class that is chosen"],
      ["J", "move its corners"],
      ["Q", "next tile to label; with Shift the previous"],
      ["Shift+1 … 9", "label the tile"],
    ],
  ],
  [
    "Drawing and measuring",
    [
      ["G H B R", "polygon, freehand, brush, rectangle"],
      ["E I W D", "ellipse, line, wand, point"],
      ["V L A", "look, measure a length, measure an area"],
      ["Space", "place a corner in the middle of the view"],
      ["Backspace", "take the last corner back"],
      ["Enter, Esc", "end, drop what is being drawn"],
      ["M", "select the next shape; with Shift the previous"],
      [", .", "previous, next corner of the shape"],
      ["Alt+Arrows", "move the corner; with Shift further"],
      ["Insert, Backspace", "add, remove a corner"],
      ["Delete", "remove the shape"],
      ["Ctrl+Z, Ctrl+Y", "undo, redo"],
    ],
  ],
];

export function Help() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (help.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [help.value]);
  return (
    <dialog ref={dialog} class="help" aria-label="Keys" onClose={() => (help.value = false)}>
      <h2>Keys</h2>
      <div class="keys">
        {KEYS.map(([what, keys]) => (
          <table>
            <caption>{what}</caption>
            <tbody>
              {keys.map(([key, does]) => (
                <tr>
                  <th scope="row">{key}</th>
                  <td>{does}</td>
                </tr>
              ))}
            </tbody>
          </table>
        ))}
      </div>
      <p>For research use only. What a model suggests is a second opinion, not a diagnosis.</p>
      <button type="button" onClick={() => (help.value = false)}>
        Close
      </button>
    </dialog>
  );
}
