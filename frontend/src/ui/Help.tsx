import { useEffect, useRef } from "preact/hooks";
import { help } from "../state";

const KEYS: [string, string][] = [
  ["Arrows", "move; with Shift further"],
  ["+ −", "nearer, farther"],
  ["F", "the whole slide"],
  ["1 … 6", "1.25x, 2.5x, 5x, 10x, 20x, 40x"],
  ["N P", "next and previous region of interest"],
  ["O", "show or hide all layers"],
  ["V L A", "look, measure a length, measure an area"],
  ["Ctrl+Z, Ctrl+Y", "undo, redo what was drawn"],
  ["Delete", "remove the shape that is selected"],
  ["Enter, Esc", "end or drop what is being measured"],
  ["[ ]", "previous, next slide"],
  ["Tab in the list, Shift+Enter", "open a slide beside"],
  ["K", "move all slides together, or each alone"],
  ["X", "close this slide"],
  ["S", "save the view as a picture"],
  ["/", "search slides"],
  ["?", "this page"],
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
      <table>
        <tbody>
          {KEYS.map(([key, what]) => (
            <tr>
              <th scope="row">{key}</th>
              <td>{what}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p>For research use only. What a model suggests is a second opinion, not a diagnosis.</p>
      <button type="button" onClick={() => (help.value = false)}>
        Close
      </button>
    </dialog>
  );
}
