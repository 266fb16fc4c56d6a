"""Pneumothorax segmentation on chest X-rays: data, training, measures. Knows no portal."""
