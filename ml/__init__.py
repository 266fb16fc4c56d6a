"""Pneumothorax segmentation on chest X-rays: data, training, measures. Needs no portal."""
